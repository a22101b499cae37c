"""Whether a rollout is complete, as `kubectl rollout status` judges it, and what the cluster says if it is not. Pure:
one Deployment in, one progress out.

The caller decides how long a result must hold, and when to stop waiting.
"""

import re
from dataclasses import dataclass

from orchestrator.k8s.types import Condition, Deployment, Reported
from signals.reasons import Reason

FREED_WITHIN = 60.0  # seconds: pods that are being deleted count in a quota until they have ended
UNOBSERVED = "Waiting for the Deployment controller to observe the change"


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


def rollout(deployment: Deployment, before: frozenset[Reported] = frozenset()) -> Progress:
    """Whether the pods match the spec. An available pod is a ready pod: readiness needs no check of its own. Conditions
    that are among `before` were reported before the change that is judged, and prove nothing about it."""
    obstacle = obstacle_of(deployment, before)
    if deployment.observed_generation < deployment.generation:
        return _progressing(UNOBSERVED, obstacle)  # without its ReplicaSet, the controller does not say that it has
    for condition in deployment.conditions:
        exceeded = (condition.type, condition.reason) == ("Progressing", Reason.PROGRESS_DEADLINE_EXCEEDED)
        if exceeded and condition.reported not in before:
            message = condition.message or "The rollout exceeded its progress deadline"
            return Failed(Reason.PROGRESS_DEADLINE_EXCEEDED, f"{message} {obstacle.message}" if obstacle else message)
    desired, updated = deployment.replicas, deployment.updated_replicas
    if updated < desired:
        paused = ", and the Deployment is paused" if deployment.paused else ""
        return _progressing(f"{updated} of {desired} replicas are updated{paused}", obstacle)
    if deployment.status_replicas > updated:
        return _progressing(f"{deployment.status_replicas - updated} old replicas are pending termination", obstacle)
    if updated > desired:
        return _progressing(f"{updated - desired} surplus replicas are pending termination", obstacle)
    if deployment.available_replicas < updated:
        return _progressing(f"{deployment.available_replicas} of {updated} updated replicas are available", obstacle)
    if not desired:
        return Complete("Scaled to 0: no pods are desired, and none are left")
    return Complete(f"All {desired} replicas are updated and available")


def steady(deployment: Deployment, before: frozenset[Reported] = frozenset()) -> Progress:
    """Whether a paused Deployment has all its pods: those of old templates stay."""
    desired, obstacle = deployment.replicas, obstacle_of(deployment, before)
    if deployment.observed_generation < deployment.generation:
        return _progressing(UNOBSERVED, obstacle)
    if (surplus := deployment.status_replicas - desired) > 0:
        return _progressing(f"{surplus} surplus replicas are pending termination", obstacle)
    if deployment.available_replicas < desired:
        return _progressing(f"{deployment.available_replicas} of {desired} replicas are available", obstacle)
    return Complete(f"All {desired} replicas are available; the Deployment is paused")


def obstacle_of(deployment: Deployment, before: frozenset[Reported] = frozenset()) -> Obstacle | None:
    """The first of the conditions ReplicaFailure, and Progressing=False for any reason but its deadline."""
    for condition in deployment.conditions:
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
