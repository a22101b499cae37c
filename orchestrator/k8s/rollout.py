"""Whether a rollout is complete, as `kubectl rollout status` judges it. Pure: one Deployment in, one progress out.

The caller decides how long a result must hold, and when to stop waiting.
"""

from dataclasses import dataclass

from orchestrator.k8s.types import Deployment
from signals.reasons import Reason


@dataclass(frozen=True, slots=True)
class Progressing:
    message: str


@dataclass(frozen=True, slots=True)
class Complete:
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    reason: Reason
    message: str


Progress = Progressing | Complete | Failed


def rollout(deployment: Deployment) -> Progress:
    """Whether the pods match the spec. An available pod is a ready pod: readiness needs no check of its own."""
    desired, updated = deployment.replicas, deployment.updated_replicas
    if deployment.observed_generation < deployment.generation:
        return Progressing("Waiting for the Deployment controller to observe the change")
    for condition in deployment.conditions:
        if condition.type == "Progressing" and condition.reason == Reason.PROGRESS_DEADLINE_EXCEEDED:
            message = condition.message or "The rollout exceeded its progress deadline"
            return Failed(Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    if updated < desired:
        paused = ", and the Deployment is paused" if deployment.paused else ""
        return Progressing(f"{updated} of {desired} replicas are updated{paused}")
    if deployment.status_replicas > updated:
        return Progressing(f"{deployment.status_replicas - updated} old replicas are pending termination")
    if updated > desired:
        return Progressing(f"{updated - desired} surplus replicas are pending termination")
    if deployment.available_replicas < updated:
        return Progressing(f"{deployment.available_replicas} of {updated} updated replicas are available")
    return Complete(f"All {desired} replicas are updated and available")
