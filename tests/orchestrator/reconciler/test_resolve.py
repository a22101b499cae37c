"""The heart of acting at most once, as a table. `test_interleavings.py` has it in every interleaving of two workers."""

from dataclasses import replace

import pytest

from orchestrator.k8s.types import WorkloadObject
from orchestrator.reconciler.resolve import Plan, Step, next_step
from tests.kit.deployments import live

UNPLANNED = Plan("a1", planned_uid="", planned_resource_version="", planned_generation=None, ambiguous=False)
PLANNED = Plan("a1", planned_uid="u1", planned_resource_version="7", planned_generation=3, ambiguous=False)
DOUBTFUL = replace(PLANNED, ambiguous=True)
UNVERSIONED = replace(PLANNED, unversioned=True)


@pytest.mark.parametrize(
    ("plan", "deployment", "step"),
    [
        (UNPLANNED, None, Step.NOT_FOUND),
        (UNPLANNED, live(), Step.PLAN),
        (UNPLANNED, live(action="an earlier one"), Step.PLAN),
        (PLANNED, None, Step.GONE),
        (DOUBTFUL, None, Step.GONE),
        (PLANNED, live(uid="u2"), Step.REPLACED),
        (PLANNED, live(uid="u2", version="8", generation=1, action="a1"), Step.REPLACED),
        (PLANNED, live(version="8", generation=4, action="a1"), Step.APPLIED),
        (DOUBTFUL, live(version="12", generation=6, action="a1"), Step.APPLIED),
        (PLANNED, live(), Step.RESEND),
        (DOUBTFUL, live(), Step.RESEND),
        (DOUBTFUL, live(action="an earlier one"), Step.RESEND),
        (PLANNED, live(version="8"), Step.REFRESH),
        (DOUBTFUL, live(version="8"), Step.REFRESH),
        (UNVERSIONED, live(version="8"), Step.REFRESH),
        (replace(UNVERSIONED, ambiguous=True), live(version="8"), Step.REVIEW),
        (replace(UNVERSIONED, ambiguous=True), live(), Step.RESEND),
        (replace(UNVERSIONED, ambiguous=True), live(version="8", action="a1"), Step.APPLIED),
        (PLANNED, live(version="8", generation=4), Step.PLAN),
        (PLANNED, live(version="8", generation=4, action="another"), Step.PLAN),
        (DOUBTFUL, live(version="8", generation=4), Step.REVIEW),
        (DOUBTFUL, live(version="8", generation=4, action="another"), Step.REVIEW),
    ],
)
def test_the_next_step_follows_from_the_plan_and_the_target(
    plan: Plan, deployment: WorkloadObject | None, step: Step
) -> None:
    assert next_step(plan, deployment) is step
