"""Whether a rollout is complete, as `kubectl rollout status` judges it, and what the cluster says if it is not. Pure:
one workload in, one progress out.

The rules are those of kubectl for each kind, and never weaker: pods that are surplus, or not available yet, count too.
kubectl has no verdict for the update strategy OnDelete, where no controller replaces pods: those pods are `steady`.

The caller decides how long a result must hold, and when to stop waiting.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.k8s.types import Condition, Reported, Update, WorkloadObject
from signals.reasons import Reason
from signals.types import Kind

FREED_WITHIN = 60.0  # seconds: pods that are being deleted count in a quota until they have ended


@dataclass(frozen=True, slots=True)
class Progressing:
    """`patience`: the cluster refuses the pods, and waiting any longer than these seconds does not help. None: it
    may."""

    message: str
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    reason: Reason
    message: str


Progress = Progressing | Complete | Failed


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What the cluster says about pods that it does not run, in its own words. `patience` as in Progressing."""

    message: str
    patience: float | None = None


def rollout(workload: WorkloadObject, before: frozenset[Reported] = frozenset()) -> Progress:
    """Whether the pods match the spec. Conditions that are among `before` were reported before the change that is
    judged, and prove nothing about it."""
    if workload.update is Update.ON_DELETE:
        return steady(workload, before)
    obstacle = obstacle_of(workload, before)
    if _is_unobserved(workload):
        return _progressing(_unobserved(workload), obstacle)  # without its ReplicaSet, it does not say that it has
    for condition in workload.conditions:
        exceeded = (condition.type, condition.reason) == ("Progressing", Reason.PROGRESS_DEADLINE_EXCEEDED)
        if exceeded and condition.reported not in before:
            message = condition.message or "The rollout exceeded its progress deadline"
            return Failed(Reason.PROGRESS_DEADLINE_EXCEEDED, f"{message} {obstacle.message}" if obstacle else message)
    if waiting := WAITING[workload.kind](workload):
        return _progressing(waiting, obstacle)
    return Complete(_complete(workload))


def steady(workload: WorkloadObject, before: frozenset[Reported] = frozenset()) -> Progress:
    """Whether a workload has all its pods whose controller replaces none: those of old templates stay."""
    desired, obstacle = workload.replicas, obstacle_of(workload, before)
    if _is_unobserved(workload):
        return _progressing(_unobserved(workload), obstacle)
    if (surplus := workload.status_replicas - desired) > 0:
        return _progressing(f"{surplus} surplus replicas are pending termination", obstacle)
    if workload.available_replicas < desired:
        return _progressing(f"{workload.available_replicas} of {desired} replicas are available", obstacle)
    why = f"the {workload.kind} is paused" if workload.paused else f"the update strategy is {Update.ON_DELETE}"
    return Complete(f"All {desired} replicas are available; {why}")


def _of_deployment(workload: WorkloadObject) -> str:
    """What the rollout waits for, here and below; "" if it is complete. An available pod is a ready pod: readiness
    needs no check of its own."""
    desired, updated = workload.replicas, workload.updated_replicas
    if updated < desired:
        paused = ", and the Deployment is paused" if workload.paused else ""
        return f"{updated} of {desired} replicas are updated{paused}"
    if workload.status_replicas > updated:
        return f"{workload.status_replicas - updated} old replicas are pending termination"
    if updated > desired:
        return f"{updated - desired} surplus replicas are pending termination"
    if workload.available_replicas < updated:
        return f"{workload.available_replicas} of {updated} updated replicas are available"
    return ""


def _of_stateful_set(workload: WorkloadObject) -> str:
    """Pods below the partition keep their template. Without a partition, the controller ends the rollout itself, by
    making the updated revision the current one."""
    desired, updated = workload.replicas, workload.updated_replicas
    if updated < workload.to_update:
        return f"{updated} of {workload.to_update} replicas are updated{_partition(workload)}"
    if (surplus := workload.status_replicas - desired) > 0:
        return f"{surplus} surplus replicas are pending termination"
    # A pod is ready for `minReadySeconds` before it is available.
    if (serving := min(workload.ready_replicas, workload.available_replicas)) < desired:
        return f"{serving} of {desired} replicas are available"
    return "" if workload.is_current or workload.partition else "The controller has not ended the rollout yet"


def _of_daemon_set(workload: WorkloadObject) -> str:
    """However many pods `maxUnavailable` lets go at a time: in the end every node has an updated one that is
    available."""
    desired, updated = workload.replicas, workload.updated_replicas
    if updated < desired:
        return f"{updated} of {desired} pods are updated"
    if workload.available_replicas < desired:
        return f"{workload.available_replicas} of {desired} updated pods are available"
    return ""


WAITING: Mapping[Kind, Callable[[WorkloadObject], str]] = {
    Kind.DEPLOYMENT: _of_deployment,
    Kind.STATEFUL_SET: _of_stateful_set,
    Kind.DAEMON_SET: _of_daemon_set,
}


def _complete(workload: WorkloadObject) -> str:
    desired = workload.replicas
    if workload.kind is Kind.DAEMON_SET:
        return f"All {desired} pods are updated and available" if desired else "No node is to run a pod, and none does"
    if not desired:
        return "Scaled to 0: no pods are desired, and none are left"
    if workload.partition:
        return f"{workload.updated_replicas} of {desired} replicas are updated{_partition(workload)}; all are available"
    return f"All {desired} replicas are updated and available" if desired > 1 else "1 replica is updated and available"


def _partition(workload: WorkloadObject) -> str:
    return f" above the partition {workload.partition}" if workload.partition else ""


def is_uncounted(workload: WorkloadObject) -> bool:
    """The status of a DaemonSet says how many pods it is to have. It does not when the controller has not seen the last
    change: of a new one, or of one that selects other nodes now."""
    return workload.kind is Kind.DAEMON_SET and _is_unobserved(workload)


def _is_unobserved(workload: WorkloadObject) -> bool:
    return workload.observed_generation < workload.generation


def _unobserved(workload: WorkloadObject) -> str:
    return f"Waiting for the {workload.kind} controller to observe the change"


def obstacle_of(workload: WorkloadObject, before: frozenset[Reported] = frozenset()) -> Obstacle | None:
    """The first of the conditions ReplicaFailure, and Progressing=False for any reason but its deadline."""
    for condition in workload.conditions:
        if _is_obstacle(condition):
            message = condition.message or condition.reason
            if condition.reported in before:
                return Obstacle(f"{message} (reported before the change)")
            return Obstacle(message, _patience(message))
    return None


def _is_obstacle(condition: Condition) -> bool:
    if condition.type == "ReplicaFailure":
        return condition.status == "True"
    exceeded = condition.reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    return (condition.type, condition.status) == ("Progressing", "False") and not exceeded


# What the API server says when it refuses a pod or a ReplicaSet for good. Everything else may pass by itself: a webhook
# that cannot be called, a timeout, a cache that is not ready.
_QUOTA = re.compile(r"\bexceeded quota\b")
_PASSES = re.compile(r"not yet ready to handle request|status unknown for quota|retry after the token|failed calling")
_REFUSED = re.compile(r"\bis forbidden: |\bis invalid: |\bdenied the request\b")


def _patience(message: str) -> float | None:
    if _PASSES.search(message) or not _REFUSED.search(message):
        return None
    return FREED_WITHIN if _QUOTA.search(message) else 0.0


def _progressing(message: str, obstacle: Obstacle | None) -> Progressing:
    return Progressing(f"{message}: {obstacle.message}", obstacle.patience) if obstacle else Progressing(message)
