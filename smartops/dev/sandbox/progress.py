"""The status of a Deployment: counts, and the conditions Available and Progressing."""

from collections.abc import Callable, Sequence

from smartops.dev.sandbox.objects import Object, Resource, condition_of, timestamp
from smartops.dev.sandbox.rollout import fenceposts

COUNTS = ("replicas", "readyReplicas", "availableReplicas", "terminatingReplicas")


class Progress:
    """Stores when each Deployment last made progress: API timestamps are too coarse for deadlines. `clock` in
    seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moved: dict[str, float] = {}
        self._created: set[str] = set()

    def created(self, deployment: Resource) -> None:
        """The new ReplicaSet was created: a rollout begins."""
        self._created.add(deployment.uid)

    def forget(self, uid: str) -> None:
        self._moved.pop(uid, None)
        self._created.discard(uid)

    def status(
        self, deployment: Resource, sets: Sequence[Resource], new: Resource | None
    ) -> tuple[Object, float | None]:
        """The status to write, and the seconds until the deadline must be checked (None: never)."""
        counts = _counts(deployment, sets, new)
        progressing, deadline = self._progressing(deployment, counts, new)
        conditions = [_available(deployment, counts), *([progressing] if progressing else [])]
        status = {name: count for name, count in counts.items() if count or name == "terminatingReplicas"}
        status["conditions"] = [_dated(deployment, condition) for condition in conditions]
        return status, deadline

    def _progressing(
        self, deployment: Resource, counts: Object, new: Resource | None
    ) -> tuple[Object | None, float | None]:
        before = condition_of(deployment, "Progressing")
        uid, reason = deployment.uid, before["reason"] if before else ""
        if deployment.deleting:
            return before, None
        if deployment["spec"].get("paused"):
            return _progress("Unknown", "DeploymentPaused", "Deployment is paused"), None
        subject = f'ReplicaSet "{new.name}"' if new else f'Deployment "{deployment.name}"'
        if uid in self._created and new:
            self._created.discard(uid)
            self._moved[uid] = self._clock()
            before = _progress("True", "NewReplicaSetCreated", f'Created new replica set "{new.name}"')
        elif reason == "NewReplicaSetAvailable" and counts["replicas"] == counts["updatedReplicas"]:
            return before, None  # complete; a change of scale is no rollout
        elif _complete(deployment, counts):
            return _progress("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed."), None
        elif _moving(deployment.get("status", {}), counts) or reason == "DeploymentPaused":
            self._moved[uid] = self._clock()
            before = _progress("True", "ReplicaSetUpdated", f"{subject} is progressing.")
            before["lastUpdateTime"] = timestamp()
        elif reason in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
            return before, None
        moved = self._moved.setdefault(uid, self._clock())
        left = moved + deployment["spec"]["progressDeadlineSeconds"] - self._clock()
        if left <= 0:
            return _progress("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing."), None
        return before, left


def _counts(deployment: Resource, sets: Sequence[Resource], new: Resource | None) -> Object:
    totals = {name: sum(one["status"].get(name, 0) for one in sets) for name in COUNTS}
    wanted = sum(one["spec"]["replicas"] for one in sets)
    return {
        "observedGeneration": deployment.metadata["generation"],
        "updatedReplicas": new["status"].get("replicas", 0) if new else 0,
        **totals,
        "unavailableReplicas": max(0, wanted - totals["availableReplicas"]),
    }


def _complete(deployment: Resource, counts: Object) -> bool:
    desired = deployment["spec"]["replicas"]
    return all(counts[name] == desired for name in ("updatedReplicas", "replicas", "availableReplicas"))


def _moving(before: Object, counts: Object) -> bool:
    def left(status: Object) -> int:
        return status.get("replicas", 0) - status.get("updatedReplicas", 0)  # type: ignore[no-any-return]

    grown = any(
        counts[name] > before.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or left(counts) < left(before)


def _available(deployment: Resource, counts: Object) -> Object:
    desired = deployment["spec"]["replicas"]
    _, unavailable = fenceposts(deployment["spec"]["strategy"], desired)
    enough = counts["availableReplicas"] >= desired - unavailable
    return {
        "type": "Available",
        "status": str(enough),
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }


def _progress(status: str, reason: str, message: str) -> Object:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _dated(deployment: Resource, condition: Object) -> Object:
    """The condition with its times, which are kept from the current condition if nothing changed."""
    before, now = condition_of(deployment, condition["type"]), timestamp()
    same = before is not None and before["status"] == condition["status"]
    if before and same and before["reason"] == condition["reason"]:
        return {**before, **condition}
    return {
        **condition,
        "lastUpdateTime": now,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else now,
    }
