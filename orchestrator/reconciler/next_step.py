"""What to do next with a claimed action, seeing its target as it is now. Pure: the heart of acting at most once.

A write names the version it was planned against (`planned_resource_version`), so at most one of its copies is applied.
An applied write leaves the annotation of the action and increments the generation. A client that removes the annotation
from a Deployment increments the generation again. From a StatefulSet or a DaemonSet, it leaves no other trace: there, a
change of labels or annotations that may have been applied is not sent again.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadObject


class NextStep(Enum):
    NOT_FOUND = "nothing was planned, and there is no target"
    GONE = "the target was deleted after the plan"
    REPLACED = "another object has the target's name: ours was not changed, and cannot be any more"
    PLAN = "nothing is planned, or the plan is void and no copy of it can have been applied: decide again"
    APPLIED = "the annotation is there: our change was applied"
    RESEND = "nothing changed since the plan: send the identical request (at most one copy can win)"
    REFRESH = "only status or metadata changed: no copy can win any more; the same change against the new version"
    REVIEW = "the object changed, and a copy of ours may have been applied before: a person has to review it"


@dataclass(frozen=True, slots=True)
class Plan:
    action: str
    planned_uid: str
    planned_resource_version: str
    planned_generation: int | None
    ambiguous: bool  # an attempt of this action ended without an answer, or was taken over from a silent process
    unversioned: bool = False  # the change, and its undoing, may leave the generation as it is


def next_step(plan: Plan, live: WorkloadObject | None) -> NextStep:
    if live is None:
        return NextStep.GONE if plan.planned_resource_version else NextStep.NOT_FOUND
    if plan.planned_resource_version and live.uid != plan.planned_uid:
        return NextStep.REPLACED
    if live.annotations.get(ACTION_ANNOTATION) == plan.action:
        return NextStep.APPLIED  # the annotation proves the write, also where the copy of the row has no plan
    if not plan.planned_resource_version:
        return NextStep.PLAN
    if live.resource_version == plan.planned_resource_version:
        return NextStep.RESEND
    if live.generation == plan.planned_generation and not (plan.ambiguous and plan.unversioned):
        return NextStep.REFRESH
    return NextStep.REVIEW if plan.ambiguous else NextStep.PLAN


def later_action(action: UUID, live: WorkloadObject) -> UUID | None:
    """The action that has changed the target, if it is later than this one."""
    with suppress(ValueError):
        last = UUID(live.annotations.get(ACTION_ANNOTATION, ""))
        return last if last.version == action.version and last > action else None
    return None
