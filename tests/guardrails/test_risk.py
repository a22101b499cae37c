"""Why the risk of an approval is high: each reason alone, with the edges of its numbers, and what is no reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.risk import (
    JUST_DEPLOYED,
    LARGE_CHANGE,
    MANY_PODS,
    PlannedChange,
    Risk,
    RiskKind,
    acknowledgement,
    risks,
)
from guardrails.types import (
    AutoscalerFacts,
    FailedVerification,
    FieldOwner,
    OwnerKind,
    RolloutFacts,
    RolloutState,
    TargetFacts,
)

NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)
TARGET = TargetFacts("uid-1", replicas=3, available=3)
RESTART = PlannedChange(3, replaces_pods=True)
FAILED = FailedVerification("01990000", "timed_out", "1 of 3 replicas were available.")


def scaled(before: int | None, after: int) -> PlannedChange:
    return PlannedChange(before, after)


def rollout(state: RolloutState = RolloutState.COMPLETE, **more: object) -> TargetFacts:
    return replace(TARGET, rollout=RolloutFacts(state, **more))  # type: ignore[arg-type]


def owned(kind: OwnerKind, name: str = "") -> TargetFacts:
    return replace(TARGET, owners=(FieldOwner(kind, name, ("spec.replicas",)),))


@pytest.mark.parametrize(
    ("target", "change", "failed", "said"),
    [
        (rollout(RolloutState.IN_PROGRESS, by="argocd"), RESTART, None,
         ["A rollout of the workload is in progress. It was begun by argocd."]),
        (rollout(RolloutState.STUCK), RESTART, None, ["A rollout of the workload is stuck."]),
        (rollout(changed_at=NOW - JUST_DEPLOYED + timedelta(seconds=1), changed_by="helm"), RESTART, None,
         ["helm changed the pod template within the last 15 minutes."]),
        (rollout(changed_at=NOW), RESTART, None, ["Somebody changed the pod template within the last 15 minutes."]),
        (owned(OwnerKind.ARGO_CD, "Application shop"), scaled(3, 4), None,
         ["Argo CD Application shop sets spec.replicas, and is likely to undo the change."]),
        (replace(TARGET, autoscaler=AutoscalerFacts("web", 2, 9)), scaled(3, 4), None,
         ["HorizontalPodAutoscaler web sets the replicas, and is likely to undo the change."]),
        (TARGET, RESTART, FAILED, ["The last such action has timed out: 1 of 3 replicas were available."]),
        (TARGET, RESTART, replace(FAILED, state="failed", message="No."), ["The last such action has failed: No."]),
        (TARGET, scaled(3, 0), None, ["No pod of the workload is left after the change."]),
        (TARGET, scaled(LARGE_CHANGE * 2 - 1, LARGE_CHANGE - 1), None,
         ["It removes 4 of 7 replicas."]),
        (TARGET, scaled(3, 3 + LARGE_CHANGE), None, ["It adds 4 replicas to 3."]),
        (TARGET, PlannedChange(MANY_PODS, replaces_pods=True), None, ["It replaces all 50 pods of the workload."]),
        (replace(TARGET, protected_by=("tier=db",)), RESTART, None, ["The workload has the protected label tier=db."]),
    ],
)  # fmt: skip
def test_each_reason_makes_the_risk_high(
    target: TargetFacts, change: PlannedChange, failed: FailedVerification | None, said: list[str]
) -> None:
    assert [one.text for one in risks(target, change, failed, NOW)] == said


@pytest.mark.parametrize(
    ("target", "change"),
    [
        (TARGET, RESTART),
        (None, RESTART),
        (TARGET, scaled(1, 2)),
        (TARGET, scaled(3, 2 + LARGE_CHANGE)),
        (TARGET, scaled(LARGE_CHANGE * 2, LARGE_CHANGE)),
        (TARGET, scaled(100, 140)),
        (TARGET, scaled(0, 0)),
        (TARGET, scaled(None, 0)),
        (TARGET, PlannedChange(MANY_PODS - 1, replaces_pods=True)),
        (TARGET, PlannedChange(MANY_PODS)),
        (rollout(changed_at=NOW - JUST_DEPLOYED), RESTART),
        (owned(OwnerKind.HELM, "release shop"), scaled(3, 4)),
        (replace(TARGET, autoscaler=AutoscalerFacts("web", 2, 9)), RESTART),
        (replace(TARGET, available=1), RESTART),
    ],
)
def test_an_ordinary_action_has_no_high_risk(target: TargetFacts | None, change: PlannedChange) -> None:
    assert risks(target, change, None, NOW) == ()


def test_the_reasons_are_in_one_order() -> None:
    target = replace(owned(OwnerKind.FLUX), protected_by=("pci",), rollout=RolloutFacts(RolloutState.STUCK))
    found = risks(target, scaled(9, 0), FAILED, NOW)

    assert [one.kind for one in found] == [
        RiskKind.ROLLOUT, RiskKind.OWNED, RiskKind.FAILED, RiskKind.NO_PODS, RiskKind.PROTECTED,
    ]  # fmt: skip


def test_an_acknowledgement_is_empty_without_a_risk() -> None:
    assert acknowledgement("d1", []) == ""
    assert acknowledgement("d1", [Risk(RiskKind.FAILED, "", "")])


KINDS = st.lists(st.sampled_from(RiskKind), unique=True)


@given(st.sampled_from(["d1", "d2"]), KINDS, st.sampled_from(["d1", "d2"]), KINDS)
def test_an_acknowledgement_holds_for_the_same_digest_and_the_same_kinds_only(
    digest: str, kinds: list[RiskKind], other: str, others: list[RiskKind]
) -> None:
    mine, theirs = ([Risk(kind, "", "") for kind in found] for found in (kinds, others))

    assert (acknowledgement(digest, mine) == "") is not bool(mine)
    if mine and theirs:
        is_same = (digest, {*kinds}) == (other, {*others})
        assert (acknowledgement(digest, mine) == acknowledgement(other, theirs)) is is_same
