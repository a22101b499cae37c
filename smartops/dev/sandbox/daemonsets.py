"""The DaemonSet controller: a pod for each node that its template selects; RollingUpdate with maxUnavailable or
maxSurge, and OnDelete. Nodes have no taints here, and affinities are not read: only `nodeSelector` counts.
"""

from collections.abc import Iterable

from smartops.dev.sandbox.events import Recorder
from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.pods import follow, new_pod
from smartops.dev.sandbox.readiness import Readiness, is_ready
from smartops.dev.sandbox.registry import Registry, random_suffix
from smartops.dev.sandbox.resources import DAEMON_SET, NODE, POD, TEMPLATE_GENERATION
from smartops.dev.sandbox.revisions import REVISION_HASH, Revisions, hash_of
from smartops.dev.sandbox.rollout import in_pods
from smartops.dev.sandbox.store import Event
from smartops.dev.sandbox.workqueue import Key, WorkQueue


class DaemonSetController:
    def __init__(self, registry: Registry, recorder: Recorder, readiness: Readiness) -> None:
        self._registry, self._store, self._recorder, self._readiness = registry, registry.store, recorder, readiness
        self._revisions = Revisions(registry, DAEMON_SET)
        self._queue = WorkQueue(self._reconcile)
        follow(self._store, DAEMON_SET, self._queue)
        self._store.subscribe(NODE, self._see_node)

    def _see_node(self, _: Event) -> None:
        for found in self._store.objects(DAEMON_SET):
            self._queue.add((found.namespace, found.name))

    def _reconcile(self, key: Key) -> None:
        found = self._store.get(DAEMON_SET, *key)
        if found is None or found.deleting:
            return
        revision = hash_of(self._revisions.current(found).name)
        nodes = self._nodes(found)
        self._place(found, nodes, revision)
        if found["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._replace(found, nodes, revision)
        status = self._status(key, found, nodes, revision)
        self._registry.write(DAEMON_SET, found, {**found, "status": status}, subresource="status")
        used = {pod.metadata["labels"].get(REVISION_HASH, "") for pods in self._pods(found).values() for pod in pods}
        self._revisions.forget_old(found, {f"{found.name}-{one}" for one in used | {revision}})

    def _place(self, found: Resource, nodes: Iterable[str], revision: str) -> None:
        """A pod on each node, and none on others."""
        placed = self._pods(found)
        for node in nodes:
            if not placed.get(node):
                self._create(found, node, revision)
        for node in placed.keys() - set(nodes):
            for pod in placed[node]:
                self._delete(found, pod)

    def _replace(self, found: Resource, nodes: list[str], revision: str) -> None:
        """An old pod that is not available is replaced at once; the others, as many at a time as may be unavailable.
        With a surge, the new pod comes first."""
        rolling = found["spec"]["updateStrategy"].get("rollingUpdate", {})
        surge = in_pods(rolling.get("maxSurge", 0), len(nodes), up=True)
        spare = surge or in_pods(rolling.get("maxUnavailable", 1), len(nodes), up=True)
        waiting = list[tuple[str, Resource]]()
        for node, pods in self._pods(found).items():
            new = [pod for pod in pods if _is_of(pod, revision)]
            old = [pod for pod in pods if not _is_of(pod, revision) and not pod.deleting]
            serving = [pod for pod in pods if self._is_available(found, pod) and not pod.deleting]
            if old and (any(pod in serving for pod in new) or not (surge or any(pod in serving for pod in old))):
                self._delete(found, old[0])
            elif old and not new:
                waiting.append((node, old[0]))
            if not serving or (surge and old and new):
                spare -= 1
        for node, pod in waiting[: max(0, spare)]:
            if surge:
                self._create(found, node, revision)
            else:
                self._delete(found, pod)

    def _create(self, owner: Resource, node: str, revision: str) -> None:
        template = owner["spec"]["template"]
        generation = owner.metadata["annotations"][TEMPLATE_GENERATION]
        labels = {
            **template["metadata"].get("labels", {}),
            REVISION_HASH: revision,
            "pod-template-generation": generation,
        }
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        spec = {"affinity": {"nodeAffinity": required}, "nodeName": node}
        name, inherited = f"{owner.name}-{random_suffix()}", {**template["metadata"], "labels": labels}
        pod = self._registry.insert(POD, new_pod(DAEMON_SET, owner, name, template, inherited, spec))
        self._record(owner, "SuccessfulCreate", f"Created pod: {pod.name}")

    def _delete(self, owner: Resource, pod: Resource) -> None:
        if not pod.deleting:
            self._registry.delete(POD, pod, {})
            self._record(owner, "SuccessfulDelete", f"Deleted pod: {pod.name}")

    def _record(self, owner: Resource, reason: str, message: str) -> None:
        self._recorder.record(DAEMON_SET, owner, reason, message, "daemonset-controller")

    def _status(self, key: Key, found: Resource, nodes: list[str], revision: str) -> Object:
        """Of several pods on a node the oldest counts."""
        placed = self._pods(found)
        first = [placed[node][0] for node in nodes if placed.get(node)]
        waits = [self._readiness.wait(pod, found["spec"]) for pod in first]
        if later := min(filter(None, waits), default=None):
            self._queue.add_after(key, later)
        available, updated = waits.count(0), sum(_is_of(pod, revision) for pod in first)
        return {
            "currentNumberScheduled": len(first),
            "numberMisscheduled": len(placed.keys() - set(nodes)),
            "desiredNumberScheduled": len(nodes),
            "numberReady": sum(map(is_ready, first)),
            "observedGeneration": found.metadata["generation"],
            **({"updatedNumberScheduled": updated} if updated else {}),
            **({"numberAvailable": available} if available else {}),
            **({"numberUnavailable": len(nodes) - available} if available < len(nodes) else {}),
        }

    def _is_available(self, found: Resource, pod: Resource) -> bool:
        return self._readiness.wait(pod, found["spec"]) == 0

    def _nodes(self, found: Resource) -> list[str]:
        wanted = found["spec"]["template"]["spec"].get("nodeSelector", {}).items()
        return [node.name for node in self._store.objects(NODE) if wanted <= node.metadata.get("labels", {}).items()]

    def _pods(self, found: Resource) -> dict[str, list[Resource]]:
        """By node, the oldest first."""
        placed = dict[str, list[Resource]]()
        for kind, pod in self._store.owned_by(found.uid):
            if kind is POD:
                placed.setdefault(pod["spec"]["nodeName"], []).append(pod)
        return placed


def _is_of(pod: Resource, revision: str) -> bool:
    return bool(pod.metadata["labels"].get(REVISION_HASH) == revision)
