"""The ReplicaSet controller: creates and deletes pods, and counts them in the status."""

from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.pods import follow, new_pod
from smartops.dev.sandbox.readiness import Readiness, is_ready
from smartops.dev.sandbox.registry import Registry, random_suffix
from smartops.dev.sandbox.resources import POD, REPLICA_SET
from smartops.dev.sandbox.workqueue import Key, WorkQueue

BURST = 500  # pods made in one turn; their events bring the next turn


class ReplicaSetController:
    def __init__(self, registry: Registry, readiness: Readiness) -> None:
        self._registry, self._store, self._readiness = registry, registry.store, readiness
        self._queue = WorkQueue(self._reconcile)
        follow(self._store, REPLICA_SET, self._queue)

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
        name = f"{owner.name}-{random_suffix()}"
        return self._registry.insert(POD, new_pod(REPLICA_SET, owner, name, template, inherited, {}))

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
