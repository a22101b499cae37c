"""The ReplicaSet controller: creates and deletes pods, and counts them in the status."""

from smartops.dev.sandbox.defaults import POD_DEFAULTS
from smartops.dev.sandbox.objects import Object, Resource, controller_of, reference
from smartops.dev.sandbox.readiness import Readiness, is_ready
from smartops.dev.sandbox.registry import Registry, random_suffix
from smartops.dev.sandbox.resources import POD, REPLICA_SET
from smartops.dev.sandbox.store import Event
from smartops.dev.sandbox.workqueue import Key, WorkQueue

BURST = 500  # pods made in one turn; their events bring the next turn


class ReplicaSetController:
    def __init__(self, registry: Registry, readiness: Readiness) -> None:
        self._registry, self._store, self._readiness = registry, registry.store, readiness
        self._queue = WorkQueue(self._reconcile)
        self._store.subscribe(REPLICA_SET, self._see_set)
        self._store.subscribe(POD, self._see_pod)

    def _see_set(self, event: Event) -> None:
        if event.type != "DELETED":
            self._queue.add((event.object.namespace, event.object.name))

    def _see_pod(self, event: Event) -> None:
        owner = controller_of(event.object)
        if owner and owner["kind"] == REPLICA_SET.name:
            self._queue.add((event.object.namespace, owner["name"]))

    def _reconcile(self, key: Key) -> None:
        found = self._store.get(REPLICA_SET, *key)
        if found is None or found.deleting:
            return
        owned = [pod for kind, pod in self._store.owned_by(found.uid) if kind is POD]
        pods = [pod for pod in owned if not pod.deleting]
        terminating = len(owned) - len(pods)
        excess = len(pods) - found["spec"]["replicas"]
        # Those go first that serve nobody yet, and of the others the youngest.
        youngest_first = pods[::-1]
        for pod in sorted(youngest_first, key=is_ready)[: max(0, excess)]:
            self._registry.delete(POD, pod, {})
            pods.remove(pod)
            terminating += 1
        pods += [self._create_pod(found) for _ in range(min(-excess, BURST))]
        self._registry.write(
            REPLICA_SET, found, {**found, "status": self._status(key, found, pods, terminating)}, subresource="status"
        )

    def _create_pod(self, owner: Resource) -> Resource:
        template = owner["spec"]["template"]
        inherited = {
            name: template["metadata"][name] for name in ("labels", "annotations") if name in template["metadata"]
        }
        metadata: Object = {
            "name": f"{owner.name}-{random_suffix()}",
            "generateName": f"{owner.name}-",
            "namespace": owner.namespace,
            "ownerReferences": [reference(REPLICA_SET.api_version, REPLICA_SET.name, owner)],
            **inherited,
        }
        spec = {**POD_DEFAULTS, **template["spec"]}
        status = {"phase": "Pending", "qosClass": "BestEffort"}
        return self._registry.insert(POD, {"metadata": metadata, "spec": spec, "status": status})

    def _status(self, key: Key, found: Resource, pods: list[Resource], terminating: int) -> Object:
        waits = [wait for pod in pods if (wait := self._readiness.wait(pod, found["spec"])) is not None]
        if later := min(filter(None, waits), default=None):
            self._queue.add_after(key, later)
        counts = {
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": len(waits),
            "availableReplicas": sum(wait == 0 for wait in waits),
        }
        return {
            "replicas": len(pods),
            "terminatingReplicas": terminating,
            **{name: count for name, count in counts.items() if count},
            "observedGeneration": found.metadata["generation"],
        }
