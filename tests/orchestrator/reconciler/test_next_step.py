"""The heart of acting at most once, as a table. `test_interleavings.py` has it in every interleaving of two workers."""

from dataclasses import replace
from uuid import UUID

import pytest

from orchestrator.k8s.types import WorkloadObject
from orchestrator.reconciler.next_step import NextStep, Plan, later_action, next_step
from tests.kit.deployments import live

UNPLANNED = Plan("a1", planned_uid="", planned_resource_version="", planned_generation=None, ambiguous=False)
PLANNED = Plan("a1", planned_uid="u1", planned_resource_version="7", planned_generation=3, ambiguous=False)
DOUBTFUL = replace(PLANNED, ambiguous=True)
UNVERSIONED = replace(PLANNED, unversioned=True)


@pytest.mark.parametrize(
    ("plan", "deployment", "step"),
    [
        (UNPLANNED, None, NextStep.NOT_FOUND),
        (UNPLANNED, live(), NextStep.PLAN),
        (UNPLANNED, live(action="an earlier one"), NextStep.PLAN),
        (PLANNED, None, NextStep.GONE),
        (DOUBTFUL, None, NextStep.GONE),
        (PLANNED, live(uid="u2"), NextStep.REPLACED),
        (PLANNED, live(uid="u2", version="8", generation=1, action="a1"), NextStep.REPLACED),
        (PLANNED, live(version="8", generation=4, action="a1"), NextStep.APPLIED),
        (DOUBTFUL, live(version="12", generation=6, action="a1"), NextStep.APPLIED),
        (PLANNED, live(), NextStep.RESEND),
        (DOUBTFUL, live(), NextStep.RESEND),
        (DOUBTFUL, live(action="an earlier one"), NextStep.RESEND),
        (PLANNED, live(version="8"), NextStep.REFRESH),
        (DOUBTFUL, live(version="8"), NextStep.REFRESH),
        (UNVERSIONED, live(version="8"), NextStep.REFRESH),
        (replace(UNVERSIONED, ambiguous=True), live(version="8"), NextStep.REVIEW),
        (replace(UNVERSIONED, ambiguous=True), live(), NextStep.RESEND),
        (replace(UNVERSIONED, ambiguous=True), live(version="8", action="a1"), NextStep.APPLIED),
        (PLANNED, live(version="8", generation=4), NextStep.PLAN),
        (PLANNED, live(version="8", generation=4, action="another"), NextStep.PLAN),
        (DOUBTFUL, live(version="8", generation=4), NextStep.REVIEW),
        (DOUBTFUL, live(version="8", generation=4, action="another"), NextStep.REVIEW),
    ],
)
def test_the_next_step_follows_from_the_plan_and_the_target(
    plan: Plan, deployment: WorkloadObject | None, step: NextStep
) -> None:
    assert next_step(plan, deployment) is step


EARLIER, ACTION, LATER = (UUID(int=0x019AC0000000_7000_8000_000000000000 + (n << 80)) for n in range(3))


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str(LATER), LATER),
        (str(ACTION), None),
        (str(EARLIER), None),
        ("ffffffff-ffff-4fff-bfff-ffffffffffff", None),
        ("an action", None),
        ("", None),
    ],
)
def test_only_an_id_of_ours_names_a_later_action(annotation: str, expected: UUID | None) -> None:
    assert later_action(ACTION, live(action=annotation)) == expected
