"""The ReplicaSet controller: creates and deletes pods, and counts them in the status."""

import asyncio

from smartops.dev.sandbox.defaults import POD_DEFAULTS
from smartops.dev.sandbox.objects import Object, Resource, condition_of, controller_of
from smartops.dev.sandbox.registry import Registry, random_suffix
from smartops.dev.sandbox.resources import POD, REPLICA_SET
from smartops.dev.sandbox.store import Event
from smartops.dev.sandbox.workqueue import Key, WorkQueue

BURST = 500  # pods made in one turn; their events bring the next turn


class ReplicaSetController:
    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._loop = asyncio.get_running_loop()
        self._queue = WorkQueue(self._reconcile)
        self._ready_since: dict[str, float] = {}  # by the pods' uids; API timestamps are too coarse for minReadySeconds
        self._store.subscribe(REPLICA_SET, self._see_set)
        self._store.subscribe(POD, self._see_pod)

    def _see_set(self, event: Event) -> None:
        if event.type != "DELETED":
            self._queue.add((event.object.namespace, event.object.name))

    def _see_pod(self, event: Event) -> None:
        pod = event.object
        if event.type == "DELETED" or not is_ready(pod):
            self._ready_since.pop(pod.uid, None)
        else:
            self._ready_since.setdefault(pod.uid, self._loop.time())
        owner = controller_of(pod)
        if owner and owner["kind"] == REPLICA_SET.name:
            self._queue.add((pod.namespace, owner["name"]))

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
        wait, now = found["spec"].get("minReadySeconds", 0), self._loop.time()
        ready = [self._ready_since[pod.uid] for pod in pods if is_ready(pod)]
        available = [since for since in ready if now - since >= wait]
        if len(available) < len(ready):
            self._queue.add_after(key, min(since for since in ready if now - since < wait) + wait - now)
        counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": len(ready), "availableReplicas": len(available)}
        return {
            "replicas": len(pods),
            "terminatingReplicas": terminating,
            **{name: count for name, count in counts.items() if count},
            "observedGeneration": found.metadata["generation"],
        }


def is_ready(pod: Resource) -> bool:
    ready = condition_of(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def reference(api_version: str, kind: str, owner: Resource) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
