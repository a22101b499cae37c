"""The StatefulSet controller: pods with ordinals, in their order or in parallel; RollingUpdate with a partition, and
OnDelete.

Claims of volumes are stored with the StatefulSet, and no volume is claimed.
"""

from smartops.dev.sandbox.events import Recorder
from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.pods import follow, new_pod
from smartops.dev.sandbox.readiness import Readiness, is_ready
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.resources import POD, STATEFUL_SET
from smartops.dev.sandbox.revisions import REVISION_HASH, Revisions
from smartops.dev.sandbox.rollout import in_pods
from smartops.dev.sandbox.workqueue import Key, WorkQueue

POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


class StatefulSetController:
    def __init__(self, registry: Registry, recorder: Recorder, readiness: Readiness) -> None:
        self._registry, self._store, self._recorder, self._readiness = registry, registry.store, recorder, readiness
        self._revisions = Revisions(registry, STATEFUL_SET)
        self._queue = WorkQueue(self._reconcile)
        follow(self._store, STATEFUL_SET, self._queue)

    def _reconcile(self, key: Key) -> None:
        found = self._store.get(STATEFUL_SET, *key)
        if found is None or found.deleting:
            return
        update = self._revisions.current(found).name
        current = found.get("status", {}).get("currentRevision") or update
        pods = self._pods(found)
        if not self._scale(found, pods, current, update):
            self._replace(found, pods, update)
        status = self._status(key, found, current, update)
        self._registry.write(STATEFUL_SET, found, {**found, "status": status}, subresource="status")
        used = {pod.metadata["labels"][REVISION_HASH] for pod in self._pods(found).values()}
        self._revisions.forget_old(found, used | {update, status["currentRevision"]})

    def _scale(self, found: Resource, pods: dict[int, Resource], current: str, update: str) -> bool:
        """Creates and deletes pods. True: it waits for one, and no pod is replaced before. In order, each pod waits
        until those before it are available, and those after it are gone."""
        desired, in_order = found["spec"]["replicas"], found["spec"]["podManagementPolicy"] == "OrderedReady"
        waits = False
        for ordinal in range(desired):
            pod = pods.get(ordinal)
            if pod is None:
                self._create(found, ordinal, current if ordinal < _kept(found) else update)
            if pod is None or pod.deleting or self._readiness.wait(pod, found["spec"]) != 0:
                if in_order:
                    return True
                waits = waits or pod is None or pod.deleting
        for ordinal in sorted((ordinal for ordinal in pods if ordinal >= desired), reverse=True):
            if not pods[ordinal].deleting:
                self._delete(found, pods[ordinal])
            if in_order:
                return True
            waits = True
        return waits

    def _replace(self, found: Resource, pods: dict[int, Resource], update: str) -> None:
        """Deletes pods of other revisions, the highest ordinal first, as many at a time as may be unavailable."""
        strategy, desired = found["spec"]["updateStrategy"], found["spec"]["replicas"]
        if strategy["type"] != "RollingUpdate":
            return
        limit = max(1, in_pods(strategy.get("rollingUpdate", {}).get("maxUnavailable", 1), desired, up=True))
        unavailable = 0
        for ordinal in range(desired - 1, _kept(found) - 1, -1):
            if unavailable >= limit:
                return
            pod = pods[ordinal]
            if pod.metadata["labels"][REVISION_HASH] != update and not pod.deleting:
                self._delete(found, pod)
                unavailable += 1
            elif self._readiness.wait(pod, found["spec"]) != 0:
                unavailable += 1

    def _create(self, owner: Resource, ordinal: int, revision: str) -> None:
        template = self._revisions.template(owner, revision)
        name = f"{owner.name}-{ordinal}"
        if self._store.get(POD, owner.namespace, name):
            return  # somebody else's pod has the name
        labels = {**template["metadata"].get("labels", {}), REVISION_HASH: revision}
        inherited = {**template["metadata"], "labels": {**labels, POD_NAME: name, POD_INDEX: str(ordinal)}}
        spec = {"hostname": name, "subdomain": owner["spec"].get("serviceName", "")}
        self._registry.insert(POD, new_pod(STATEFUL_SET, owner, name, template, inherited, spec))
        self._record(owner, "SuccessfulCreate", f"create Pod {name} in StatefulSet {owner.name} successful")

    def _delete(self, owner: Resource, pod: Resource) -> None:
        self._registry.delete(POD, pod, {})
        self._record(owner, "SuccessfulDelete", f"delete Pod {pod.name} in StatefulSet {owner.name} successful")

    def _record(self, owner: Resource, reason: str, message: str) -> None:
        self._recorder.record(STATEFUL_SET, owner, reason, message, "statefulset-controller")

    def _status(self, key: Key, found: Resource, current: str, update: str) -> Object:
        pods = list(self._pods(found).values())
        waits = [wait for pod in pods if (wait := self._readiness.wait(pod, found["spec"])) is not None]
        if later := min(filter(None, waits), default=None):
            self._queue.add_after(key, later)
        running = [pod for pod in pods if not pod.deleting]

        def of(revision: str) -> int:
            return sum(pod.metadata["labels"][REVISION_HASH] == revision for pod in running)

        ready, updated = sum(map(is_ready, pods)), of(update)
        rolls = found["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        if rolls and updated == len(pods) == ready:  # the end of a rollout of all pods
            current = update
        return {
            "observedGeneration": found.metadata["generation"],
            "replicas": len(pods),
            "availableReplicas": sum(wait == 0 for wait in waits),
            **({"readyReplicas": ready} if ready else {}),
            **({"currentReplicas": count} if (count := of(current)) else {}),
            **({"updatedReplicas": updated} if updated else {}),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }

    def _pods(self, found: Resource) -> dict[int, Resource]:
        """By ordinal."""
        owned = [pod for kind, pod in self._store.owned_by(found.uid) if kind is POD]
        return {int(pod.name.rpartition("-")[2]): pod for pod in owned}


def _kept(found: Resource) -> int:
    """The first ordinal that gets the new template."""
    partition: int = found["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
    return min(partition, int(found["spec"]["replicas"]))
