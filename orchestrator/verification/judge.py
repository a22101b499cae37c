"""Has the change arrived in the pods? Pure: one observed workload in, one verdict out.

Time is the caller's: how long a verdict must hold, and when to stop waiting.
"""

from dataclasses import dataclass

from orchestrator.k8s.revision import held
from orchestrator.k8s.rollout import Failed, Progress, Progressing, is_uncounted, rollout, steady
from orchestrator.k8s.types import ACTION_ANNOTATION, Reported, WorkloadObject
from signals.reasons import Reason
from signals.types import Kind


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
    kind: Kind = Kind.DEPLOYMENT


def judge(workload: WorkloadObject | None, expected: Expected) -> Progress:
    """`workload` is the latest view of the target, which may be older than our write; None when it was deleted."""
    if workload is None or (workload.uid == expected.uid and workload.deleting):
        return Failed(Reason.TARGET_GONE, f"The {expected.kind} was deleted")
    if workload.uid != expected.uid:
        return Failed(Reason.TARGET_REPLACED, f"The {expected.kind} was deleted and created anew")
    if workload.generation < expected.generation:
        return Progressing("Waiting for the change to be seen")
    superseded = _superseded(workload, expected)
    if superseded:
        return Failed(Reason.SUPERSEDED, superseded)
    if expected.needs_pods and (why := _without_pods(workload)):
        return Failed(Reason.NO_PODS, f"The change was applied, but it reached no pod: {why}")
    # A newer generation with our change intact is somebody's change beside ours: what runs now is what is verified.
    judged = steady if expected.paused and workload.paused else rollout
    return judged(workload, expected.conditions)


def _without_pods(workload: WorkloadObject) -> str:
    if workload.replicas:
        return held(workload)
    if workload.kind is not Kind.DAEMON_SET:
        return f"the {workload.kind} is scaled to 0"
    return held(workload) if is_uncounted(workload) else "no node runs its pods"


def _superseded(workload: WorkloadObject, expected: Expected) -> str:
    action = workload.annotations.get(ACTION_ANNOTATION)
    if action != expected.action:
        return f"Another action ({action}) followed" if action else "The change was undone: its annotation is gone"
    if expected.replicas is not None and workload.replicas != expected.replicas:
        return f"Scaled to {workload.replicas} replicas by somebody else, after we wrote {expected.replicas}"
    if expected.replicas is None and workload.replicas < expected.baseline and workload.kind is not Kind.DAEMON_SET:
        # Every pod of a workload that was scaled to 0 is healthy. That is not what healed means. The pods of a
        # DaemonSet come and go with the nodes.
        return f"Scaled from {expected.baseline} to {workload.replicas} replicas by somebody else"
    if lost := expected.fields.difference(workload.ours):
        return f"Somebody else has changed {min(lost)} since we wrote it"
    return ""
