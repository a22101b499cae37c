"""Has the change arrived in the pods? Pure: one observed Deployment in, one verdict out.

Time is the caller's: how long a verdict must hold, and when to stop waiting.
"""

from dataclasses import dataclass

from orchestrator.k8s.rollout import Failed, Progress, Progressing, rollout, steady
from orchestrator.k8s.types import ACTION_ANNOTATION, Deployment, Reported
from signals.reasons import Reason


@dataclass(frozen=True, slots=True)
class Expected:
    """What our write left behind, and what was there before."""

    uid: str
    generation: int  # of the answer to our write
    action: str  # the id in the annotation
    replicas: int | None  # what we wrote to spec.replicas; None if the change left it alone
    baseline: int  # spec.replicas before the change
    fields: frozenset[str] = frozenset()  # those that were ours after it
    paused: bool = False  # before the change: then it did not start a rollout
    conditions: frozenset[Reported] = frozenset()  # before the change
    needs_pods: bool = False  # the change is one of the pod template, and leaves spec.replicas alone


def judge(deployment: Deployment | None, expected: Expected) -> Progress:
    """`deployment` is the latest view of the target, which may be older than our write; None when it was deleted."""
    if deployment is None or (deployment.uid == expected.uid and deployment.deleting):
        return Failed(Reason.TARGET_GONE, "The Deployment was deleted")
    if deployment.uid != expected.uid:
        return Failed(Reason.TARGET_REPLACED, "The Deployment was deleted and created anew")
    if deployment.generation < expected.generation:
        return Progressing("Waiting for the change to be seen")
    superseded = _superseded(deployment, expected)
    if superseded:
        return Failed(Reason.SUPERSEDED, superseded)
    if expected.needs_pods and not deployment.replicas:
        return Failed(Reason.NO_PODS, "The change was applied, but it reached no pod: the Deployment is scaled to 0")
    # A newer generation with our change intact is somebody's change beside ours: what runs now is what is verified.
    judged = steady if expected.paused and deployment.paused else rollout
    return judged(deployment, expected.conditions)


def _superseded(deployment: Deployment, expected: Expected) -> str:
    action = deployment.annotations.get(ACTION_ANNOTATION)
    if action != expected.action:
        return f"Another action ({action}) followed" if action else "The change was undone: its annotation is gone"
    if expected.replicas is not None and deployment.replicas != expected.replicas:
        return f"Scaled to {deployment.replicas} replicas by somebody else, after we wrote {expected.replicas}"
    if expected.replicas is None and deployment.replicas < expected.baseline:
        # Every pod of a Deployment that was scaled to 0 is healthy. That is not what healed means.
        return f"Scaled from {expected.baseline} to {deployment.replicas} replicas by somebody else"
    if lost := expected.fields.difference(deployment.ours):
        return f"Somebody else has changed {min(lost)} since we wrote it"
    return ""
