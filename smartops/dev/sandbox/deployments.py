"""The Deployment controller: one ReplicaSet per template, RollingUpdate and Recreate, revisions."""

import asyncio
import hashlib

from smartops.dev.sandbox.events import Recorder
from smartops.dev.sandbox.objects import Object, Resource, controller_of, encode, reference
from smartops.dev.sandbox.progress import Progress
from smartops.dev.sandbox.registry import ALPHABET, Registry
from smartops.dev.sandbox.resources import DEPLOYMENT, POD, REPLICA_SET
from smartops.dev.sandbox.rollout import Size, fenceposts, rolling_step
from smartops.dev.sandbox.store import Event
from smartops.dev.sandbox.workqueue import Key, WorkQueue

REVISION = "deployment.kubernetes.io/revision"
NOT_COPIED = {REVISION, "kubectl.kubernetes.io/last-applied-configuration"}
HASH = "pod-template-hash"


def template_hash(template: Object) -> str:
    digest = hashlib.blake2b(encode(template), digest_size=10).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest)


class DeploymentController:
    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry, self._store, self._recorder = registry, registry.store, recorder
        self._queue = WorkQueue(self._reconcile)
        self._progress = Progress(asyncio.get_running_loop().time)
        self._store.subscribe(DEPLOYMENT, self._see_deployment)
        self._store.subscribe(REPLICA_SET, self._see_replica_set)
        self._store.subscribe(POD, self._see_pod)

    def _see_deployment(self, event: Event) -> None:
        if event.type == "DELETED":
            self._progress.forget(event.object.uid)
        else:
            self._queue.add((event.object.namespace, event.object.name))

    def _see_replica_set(self, event: Event) -> None:
        owner = controller_of(event.object)
        if owner and owner["kind"] == DEPLOYMENT.name:
            self._queue.add((event.object.namespace, owner["name"]))

    def _see_pod(self, event: Event) -> None:
        """Recreate waits until the old pods are deleted."""
        owner = controller_of(event.object) if event.type == "DELETED" else None
        found = self._store.get(REPLICA_SET, event.object.namespace, owner["name"]) if owner else None
        above = controller_of(found) if found else None
        if above:
            self._queue.add((event.object.namespace, above["name"]))

    def _reconcile(self, key: Key) -> None:
        deployment = self._store.get(DEPLOYMENT, *key)
        if deployment is None:
            return
        name = f"{deployment.name}-{template_hash(deployment['spec']['template'])}"
        if not deployment.deleting:
            self._act(deployment, name)
        self._report(key, deployment, name)

    def _act(self, deployment: Resource, name: str) -> None:
        sets = self._sets(deployment)
        new = next((one for one in sets if one.name == name), None)
        old = [one for one in sets if one.name != name]
        if deployment["spec"].get("paused"):
            self._follow_scale(deployment, sets)
        elif deployment["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(deployment, name, new, old)
        else:
            self._roll(deployment, self._current(deployment, name, new, old), old)

    def _roll(self, deployment: Resource, new: Resource, old: list[Resource]) -> None:
        desired = deployment["spec"]["replicas"]
        surge, unavailable = fenceposts(deployment["spec"]["strategy"], desired)
        new_size, old_sizes = rolling_step(desired, surge, unavailable, size(new), [size(one) for one in old])
        self._scale(deployment, new, new_size)
        for one, replicas in zip(old, old_sizes, strict=True):
            self._scale(deployment, one, replicas)

    def _recreate(self, deployment: Resource, name: str, new: Resource | None, old: list[Resource]) -> None:
        for one in old:
            self._scale(deployment, one, 0)
        if not any(kind is POD for one in old for kind, _ in self._store.owned_by(one.uid)):
            self._scale(deployment, self._current(deployment, name, new, old), deployment["spec"]["replicas"])

    def _follow_scale(self, deployment: Resource, sets: list[Resource]) -> None:
        """While the Deployment is paused, only the newest ReplicaSet is scaled."""
        if sets:
            newest = max(sets, key=revision)
            others = sum(size(one).replicas for one in sets if one is not newest)
            self._scale(deployment, newest, max(0, deployment["spec"]["replicas"] - others))

    def _current(self, deployment: Resource, name: str, new: Resource | None, old: list[Resource]) -> Resource:
        """The ReplicaSet of the current template, with the highest revision; created if there is none."""
        number = max(map(revision, old), default=0) + 1
        if new is None:
            self._progress.created(deployment)
            new = self._store.get(REPLICA_SET, deployment.namespace, name)  # an orphan, to be adopted
        blueprint = _blueprint(deployment, name, max(revision(new) if new else 0, number))
        if new is None:
            return self._registry.insert(REPLICA_SET, blueprint)
        spec = {**blueprint["spec"], "replicas": new["spec"]["replicas"]}
        changed = {**new, "metadata": {**new.metadata, **blueprint["metadata"]}, "spec": spec}
        return self._registry.write(REPLICA_SET, new, changed)

    def _scale(self, deployment: Resource, one: Resource, replicas: int) -> None:
        before = one["spec"]["replicas"]
        if replicas == before:
            return
        self._registry.write(REPLICA_SET, one, {**one, "spec": {**one["spec"], "replicas": replicas}})
        direction = "up" if replicas > before else "down"
        message = f"Scaled {direction} replica set {one.name} from {before} to {replicas}"
        self._recorder.record(DEPLOYMENT, deployment, "ScalingReplicaSet", message)

    def _report(self, key: Key, deployment: Resource, name: str) -> None:
        sets = self._sets(deployment)
        new = next((one for one in sets if one.name == name), None)
        status, deadline = self._progress.status(deployment, sets, new)
        if deadline is not None:
            self._queue.add_after(key, deadline)
        metadata = deployment.metadata
        if new:
            annotations = {**metadata.get("annotations", {}), REVISION: str(revision(new))}
            metadata = {**metadata, "annotations": annotations}
        changed = {**deployment, "metadata": metadata, "status": status}
        self._registry.write(DEPLOYMENT, deployment, changed, subresource="status")
        self._forget_old(deployment, [one for one in sets if one.name != name])

    def _forget_old(self, deployment: Resource, old: list[Resource]) -> None:
        idle = [one for one in old if not one["spec"]["replicas"] and not one["status"].get("replicas")]
        excess = len(idle) - deployment["spec"]["revisionHistoryLimit"]
        for one in sorted(idle, key=revision)[: max(0, excess)]:
            self._registry.delete(REPLICA_SET, one, {})

    def _sets(self, deployment: Resource) -> list[Resource]:
        return [found for kind, found in self._store.owned_by(deployment.uid) if kind is REPLICA_SET]


def size(one: Resource) -> Size:
    return Size(one["spec"]["replicas"], one.get("status", {}).get("availableReplicas", 0))


def revision(one: Resource) -> int:
    return int(one.metadata.get("annotations", {}).get(REVISION, "0"))


def _annotations(deployment: Resource, number: int) -> Object:
    own = deployment.metadata.get("annotations", {})
    return {**{name: own[name] for name in own.keys() - NOT_COPIED}, REVISION: str(number)}


def _blueprint(deployment: Resource, name: str, number: int) -> Object:
    spec = deployment["spec"]
    template, mark = spec["template"], {HASH: name.removeprefix(f"{deployment.name}-")}
    labels = {**template["metadata"].get("labels", {}), **mark}
    selector = {**spec["selector"], "matchLabels": {**spec["selector"].get("matchLabels", {}), **mark}}
    return {
        "metadata": {
            "name": name,
            "namespace": deployment.namespace,
            "labels": labels,
            "annotations": _annotations(deployment, number),
            "ownerReferences": [reference(DEPLOYMENT.api_version, DEPLOYMENT.name, deployment)],
        },
        "spec": {
            "replicas": 0,
            **{name: spec[name] for name in ("minReadySeconds",) if name in spec},
            "selector": selector,
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
        "status": {"replicas": 0},
    }
