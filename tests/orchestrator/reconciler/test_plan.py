"""Claimed actions are decided on after their live read, and planned for their writes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models.functions import Now

from guardrails.models import Freeze
from orchestrator.k8s.errors import Forbidden, Unknown, Unreached
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.k8s.types import ACTION_ANNOTATION
from orchestrator.models import Action, ActionState, DecisionRecord, transition_store, transitions
from orchestrator.reconciler import plan
from orchestrator.reconciler.calls import Reading
from orchestrator.reconciler.claim import Claim, claim_due
from orchestrator.reconciler.next_step import NextStep
from orchestrator.reconciler.retry import MAX_ATTEMPTS
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Kind, Origin
from tests.kit.history import rewritable
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import SimulatedCluster
from tests.kit.verbs import lease_ends, poison, requested, row, those_stored

pytestmark = pytest.mark.usefixtures("rules")
S = ActionState
cluster = SimulatedCluster()
LIVE = cluster.deployments[cluster.deploy("erp-simulator")]


def claimed(name: str = "erp-simulator", *, planned: bool = False, ambiguous: bool = False, **fields: Any) -> Claim:
    action = requested(name, **fields)
    [claim] = [one for one in claim_due("default", 100, "reconciler:test") if one.action.pk == action.pk]
    if planned:
        transition_store.store([transitions.plan(claim.action, LIVE, {"replicas": 3}, 1, "reconciler:test")])
    claim.ambiguous = ambiguous
    return claim


def reading(claim: Claim, step: NextStep = NextStep.PLAN, error: Exception | None = None, **fields: Any) -> Reading:
    live = fields.pop("live", replace(LIVE, key=claim.action.workload.key))
    return Reading(claim, step, TargetState(seen=True, object=live), error=error)


def check(*readings: Reading) -> list[Claim]:
    return plan.plan(readings, "reconciler:test", lambda: 1.0)


def outcome(claim: Claim) -> tuple[str, str]:
    action = row(claim.action)
    return action.state, action.reason


@pytest.mark.parametrize(
    ("planned", "step", "expected"),
    [
        (False, NextStep.NOT_FOUND, (S.CANCELLED, Reason.TARGET_NOT_FOUND)),
        (True, NextStep.GONE, (S.FAILED, Reason.TARGET_GONE)),
        (True, NextStep.REPLACED, (S.CANCELLED, Reason.TARGET_REPLACED)),
        (True, NextStep.APPLIED, (S.VERIFYING, "")),
        (True, NextStep.REVIEW, (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)),
    ],
    ids=lambda value: value.name if isinstance(value, NextStep) else None,
)
def test_a_reading_that_needs_no_write_ends_the_attempt(
    planned: bool, step: NextStep, expected: tuple[str, str]
) -> None:
    claim = claimed(planned=planned, ambiguous=step is NextStep.REVIEW)

    assert check(reading(claim, step)) == []
    assert outcome(claim) == expected
    assert DecisionRecord.objects.count() == 0


def changed_by(claim: Claim, action: UUID) -> Reading:
    """The target of the claim, that this action has changed last."""
    live = replace(LIVE, key=claim.action.workload.key, annotations={ACTION_ANNOTATION: str(action)})
    return reading(claim, live=live)


def test_an_action_that_a_restored_database_has_and_a_later_one_that_it_lacks_need_a_review() -> None:
    claim, unknown = claimed(), Action.new_id()

    assert check(changed_by(claim, unknown)) == []
    assert outcome(claim) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)
    assert str(unknown) in row(claim.action).message
    assert DecisionRecord.objects.count() == 0


@pytest.mark.parametrize("known", [True, False], ids=["later and known", "earlier and unknown"])
def test_an_action_of_the_same_history_has_changed_its_target(known: bool) -> None:
    earlier = Action.new_id()
    claim = claimed()

    assert check(changed_by(claim, claimed("other").action.pk if known else earlier)) == [claim]


def test_a_dry_run_needs_no_review() -> None:
    claim = claimed(dry_run=True)

    assert check(changed_by(claim, Action.new_id())) == [claim]


@pytest.mark.parametrize("step", [NextStep.NOT_FOUND, NextStep.GONE, NextStep.REPLACED], ids=lambda step: step.name)
def test_a_target_that_is_missing_is_named_with_its_kind(step: NextStep) -> None:
    claim = claimed("db", kind=Kind.STATEFUL_SET, planned=step is not NextStep.NOT_FOUND)

    check(reading(claim, step))
    message = row(claim.action).message
    assert f"StatefulSet {NAMESPACE}/db" in message
    assert "Deployment" not in message


@pytest.mark.parametrize("step", [NextStep.PLAN, NextStep.REFRESH, NextStep.RESEND], ids=lambda step: step.name)
def test_a_reading_that_needs_a_write_is_decided_and_planned(step: NextStep) -> None:
    claim = claimed(planned=step is not NextStep.PLAN)
    live = replace(LIVE, resource_version="77", replicas=2)

    assert check(reading(claim, step, live=live)) == [claim]

    action, decision = row(claim.action), DecisionRecord.objects.get()
    assert (action.state, action.epoch, action.planned_resource_version) == (S.APPLYING, 1, "77")
    assert (action.change, action.scale_increase) == ({"replicas": 3}, 1)
    assert (decision.phase, decision.outcome, decision.action_id) == ("plan", "allow", action.pk)
    assert claim.limits is not None
    assert claim.action.planned_resource_version == "77"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unreached("no route"), (S.PENDING, Reason.CLUSTER_UNREACHABLE)),
        (Forbidden("deployments is forbidden"), (S.FAILED, Reason.CLUSTER_FORBIDDEN)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_read_that_failed_follows_the_retry_policy(error: Exception, expected: tuple[str, str]) -> None:
    claim = claimed()

    assert check(reading(claim, error=error)) == []
    assert outcome(claim) == expected


def test_each_reading_of_a_batch_gets_its_own_outcome() -> None:
    writes, away, gone = claimed("a"), claimed("b"), claimed("c")

    batch = [reading(gone, NextStep.NOT_FOUND), reading(writes), reading(away, error=Unreached("no route"))]

    assert check(*batch) == [writes]
    assert [outcome(one)[0] for one in (writes, away, gone)] == [S.APPLYING, S.PENDING, S.CANCELLED]
    assert DecisionRecord.objects.count() == 1


def test_a_claim_that_another_process_has_taken_over_is_not_written() -> None:
    lost, kept = claimed("a"), claimed("b")
    lease_ends(lost.action)
    transition_store.store([transitions.reclaim(row(lost.action), "reconciler:another")])

    assert check(reading(lost), reading(kept)) == [kept]
    assert (row(lost.action).epoch, row(lost.action).moved_by) == (2, "reconciler:another")
    assert [one.action_id for one in DecisionRecord.objects.all()] == [kept.action.pk]


def test_a_lost_claim_and_the_next_action_of_its_workload_may_share_a_batch() -> None:
    lost = claimed()
    transition_store.store([transitions.cancel(row(lost.action), Reason.REVIEWED, "", "reconciler:another")])
    following = claimed()

    assert check(reading(lost), reading(following)) == [following]
    assert outcome(lost) == (S.CANCELLED, Reason.REVIEWED)


@pytest.mark.parametrize("origin", Origin)
def test_an_action_whose_namespace_cannot_be_read_waits_with_the_cause(origin: Origin) -> None:
    claim = claimed()
    with rewritable(Action):
        Action.objects.update(origin=origin)
    state = TargetState(seen=False, unreadable="deployments in namespace smartops-dev: forbidden")

    assert check(Reading(claim, NextStep.PLAN, state)) == []

    assert outcome(claim) == (S.PENDING, Reason.NAMESPACE_UNREADABLE)
    message = "SmartOps cannot read the namespace “smartops-dev”: deployments in namespace smartops-dev: forbidden"
    assert row(claim.action).message == message


def test_a_freeze_cancels_a_direct_action_before_its_write() -> None:
    claim = claimed()
    Freeze.objects.create(reason="incident", by="user:ana")

    assert check(reading(claim)) == []
    assert outcome(claim) == (S.CANCELLED, Reason.FROZEN)
    assert row(claim.action).details != {}


def test_a_freeze_defers_an_action_of_a_signal() -> None:
    [receipt] = post(anomaly("erp-simulator"))
    claim = claimed(signal=Signal.objects.get(pk=receipt.signal_id))
    Freeze.objects.create(reason="incident", by="user:ana", until=Now() + timedelta(minutes=5))

    assert check(reading(claim)) == []
    assert outcome(claim) == (S.PENDING, Reason.FROZEN)
    assert row(claim.action).planned_resource_version == ""
    assert 290 < (row(claim.action).not_before - row(claim.action).updated_at).total_seconds() <= 300


def test_a_write_that_may_still_be_applied_is_neither_repeated_nor_cancelled() -> None:
    claim = claimed(planned=True, ambiguous=True)
    Freeze.objects.create(reason="incident", by="user:ana")

    assert check(reading(claim, NextStep.RESEND)) == []
    assert outcome(claim) == (S.PENDING, Reason.FROZEN)
    assert row(claim.action).planned_resource_version == LIVE.resource_version


@pytest.mark.parametrize("step", [NextStep.RESEND, NextStep.REFRESH], ids=lambda step: step.name)
def test_a_write_without_a_clear_answer_is_repeated_later(step: NextStep) -> None:
    """Not within the claim: an API server that fails is given time."""
    claim = claimed(planned=True, ambiguous=True)
    claim.unanswered = Unknown("etcdserver: leader changed", code=500)

    assert check(reading(claim, step)) == []
    assert outcome(claim) == (S.PENDING, Reason.CLUSTER_ERROR)
    assert (row(claim.action).ambiguous, row(claim.action).planned_resource_version) == (True, LIVE.resource_version)
    assert DecisionRecord.objects.count() == 0


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (NextStep.RESEND, (S.FAILED, Reason.RETRIES_EXHAUSTED)),
        (NextStep.REFRESH, (S.FAILED, Reason.RETRIES_EXHAUSTED)),
        (NextStep.REVIEW, (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)),
        (NextStep.APPLIED, (S.VERIFYING, "")),
    ],
    ids=lambda value: value.name if isinstance(value, NextStep) else None,
)
def test_after_the_last_attempt_the_version_of_the_target_decides(step: NextStep, expected: tuple[str, str]) -> None:
    claim = claimed(planned=True, ambiguous=True)
    claim.action.attempts, claim.last_message = MAX_ATTEMPTS + 1, "etcdserver: leader changed"

    assert check(reading(claim, step)) == []
    assert outcome(claim) == expected
    if expected[0] == S.FAILED:
        assert row(claim.action).message.endswith("etcdserver: leader changed")


def test_a_namespace_that_is_not_managed_any_more_cancels_an_action_without_a_plan() -> None:
    claim = claimed()

    assert check(Reading(claim, NextStep.PLAN, UNMANAGED)) == []
    assert outcome(claim) == (S.CANCELLED, Reason.NAMESPACE_NOT_MANAGED)


def test_a_change_that_is_found_on_the_target_counts_from_now_on() -> None:
    claim = claimed(planned=True)
    written = replace(LIVE, generation=2, annotations={ACTION_ANNOTATION: str(claim.action.pk)})

    check(reading(claim, NextStep.APPLIED, live=written))

    assert row(claim.action).applied_at is not None
    assert row(claim.action).verification.generation == 2


@pytest.mark.parametrize(
    ("planned", "expected"),
    [(False, (S.FAILED, Reason.PROCESSING_ERROR)), (True, (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN))],
)
def test_a_row_that_fails_costs_itself(
    monkeypatch: pytest.MonkeyPatch, planned: bool, expected: tuple[str, str]
) -> None:
    """If a write may have been sent, a person has to review it."""
    bad, good = claimed("a", planned=planned), claimed("b")
    poison(monkeypatch, plan, "_transition", lambda one, *_: one.claim is bad)
    batch = [reading(bad), reading(good)]

    written = those_stored(
        batch, lambda some: check(*some), lambda one, error: plan.record_failure(one, error, "reconciler:test")
    )

    assert written == [good]
    assert outcome(bad) == expected
    assert row(bad.action).message == "ValueError: poison"


def test_a_failure_of_a_claim_that_was_lost_is_not_recorded() -> None:
    claim = claimed()
    lease_ends(claim.action)
    transition_store.store([transitions.reclaim(row(claim.action), "reconciler:another")])

    plan.record_failure(reading(claim), ValueError("poison"), "reconciler:test")
    assert str(reading(claim)) == f"action {claim.action.pk}", "the log names it"

    assert (outcome(claim), row(claim.action).epoch) == ((S.APPLYING, ""), 2)
