"""The answers to writes are recorded together."""

from dataclasses import replace
from typing import Any

import pytest

from guardrails.models import Cooldown
from guardrails.types import Limits
from orchestrator.k8s.errors import (
    AdmissionUnavailable,
    Conflict,
    Forbidden,
    NotFound,
    Throttled,
    TimedOut,
    Unknown,
    Unreached,
)
from orchestrator.models import ActionState, Verification, transition_store, transitions
from orchestrator.reconciler import record
from orchestrator.reconciler.calls import Answer
from orchestrator.reconciler.claim import Claim, claim_due
from signals.reasons import Reason
from tests.kit.simulation import SimulatedCluster
from tests.kit.verbs import lease_ends, poison, requested, row, those_stored

pytestmark = pytest.mark.usefixtures("rules")
S = ActionState
cluster = SimulatedCluster()
LIVE = cluster.deployments[cluster.deploy("erp-simulator")]
WRITTEN = replace(LIVE, resource_version="9", generation=2, replicas=3)


def sent(name: str = "erp-simulator", **fields: Any) -> Claim:
    """A claim whose write was sent once."""
    action = requested(name, **fields)
    [claim] = [one for one in claim_due("default", 100, "reconciler:test") if one.action.pk == action.pk]
    transition_store.store([transitions.plan(claim.action, LIVE, {"replicas": 3}, 1, "reconciler:test")])
    claim.limits, claim.writes = Limits(cooldown_seconds=7, verification_timeout_seconds=42), 1
    return claim


def recorded(*answers: Answer) -> list[object]:
    return [action.pk for action in record.record(answers, "reconciler:test", lambda: 1.0)]


def outcome(claim: Claim) -> tuple[str, str]:
    action = row(claim.action)
    return action.state, action.reason


@pytest.mark.parametrize(
    ("result", "writes", "unclear", "ambiguous"),
    [
        (WRITTEN, 1, False, False),
        (Conflict("modified"), 1, True, False),
        (Conflict("modified"), record.MAX_WRITES, False, False),
        (Unknown("HTTP 500"), 1, True, True),
        (TimedOut("no answer"), record.MAX_WRITES, True, True),
        (AdmissionUnavailable("failed calling webhook"), 1, False, False),
        (Throttled("slow down"), 1, False, False),
        (Unreached("no route"), 1, False, False),
        (NotFound("gone"), 1, False, False),
        (ValueError("a defect"), 1, False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_an_answer_that_says_too_little_needs_a_read(
    result: object, writes: int, unclear: bool, ambiguous: bool
) -> None:
    claim = sent()
    claim.writes = writes
    answer = Answer(claim, result)  # type: ignore[arg-type]

    record.mark_ambiguous(answer)

    assert record.is_unclear(answer) is unclear
    assert claim.ambiguous is ambiguous
    assert claim.unanswered is (result if ambiguous else None)


def test_each_answer_of_a_batch_gets_its_own_outcome() -> None:
    applied, busy, refused, away = (sent(name) for name in "abcd")

    verifying = recorded(
        Answer(refused, Forbidden("no")),
        Answer(applied, WRITTEN),
        Answer(busy, Throttled("slow down", retry_after=7)),
        Answer(away, Unreached("no route")),
    )

    assert verifying == [applied.action.pk]
    assert [outcome(one) for one in (applied, busy, refused, away)] == [
        (S.VERIFYING, ""),
        (S.PENDING, Reason.CLUSTER_THROTTLED),
        (S.FAILED, Reason.CLUSTER_FORBIDDEN),
        (S.PENDING, Reason.CLUSTER_UNREACHABLE),
    ]


def test_a_change_counts_under_the_limits_of_its_plan() -> None:
    claim = sent()

    recorded(Answer(claim, WRITTEN))

    action, cooldown = row(claim.action), Cooldown.objects.get()
    assert action.applied_at == action.updated_at
    assert (action.deadline_at - action.updated_at).total_seconds() == 42
    assert round((cooldown.until - action.updated_at).total_seconds()) == 7
    verification = Verification.objects.get()
    assert (verification.generation, verification.baseline["replicas"], verification.status) == (2, 2, "")


def test_a_change_that_is_not_to_be_verified_succeeds_at_once() -> None:
    claim = sent(verify=False)

    assert recorded(Answer(claim, WRITTEN)) == []
    assert outcome(claim) == (S.SUCCEEDED, "")
    assert row(claim.action).applied_at is not None


def test_a_dry_run_counts_in_no_limit() -> None:
    claim = sent(dry_run=True)

    assert recorded(Answer(claim, WRITTEN)) == []
    assert outcome(claim) == (S.SUCCEEDED, "")
    assert row(claim.action).applied_at is None
    assert not Cooldown.objects.exists()


def test_an_answer_that_comes_after_the_action_was_taken_over_changes_nothing() -> None:
    lost, kept = sent("a"), sent("b")
    lease_ends(lost.action)
    transition_store.store([transitions.reclaim(row(lost.action), "reconciler:another")])

    assert recorded(Answer(lost, WRITTEN), Answer(kept, WRITTEN)) == [kept.action.pk]
    assert (outcome(lost), row(lost.action).moved_by) == ((S.APPLYING, ""), "reconciler:another")
    assert Verification.objects.get().action_id == kept.action.pk
    assert Cooldown.objects.get().workload == "b"


def test_a_write_that_no_webhook_admitted_is_planned_anew() -> None:
    claim = sent()

    recorded(Answer(claim, AdmissionUnavailable("failed calling webhook", code=500)))

    assert outcome(claim) == (S.PENDING, Reason.ADMISSION_UNAVAILABLE)
    assert (row(claim.action).ambiguous, row(claim.action).planned_resource_version) == (False, "")


def test_a_row_that_fails_costs_itself_and_is_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = sent("a"), sent("b")
    poison(monkeypatch, record, "_transition", lambda one, *_: one.claim is bad)
    answers = [Answer(bad, WRITTEN), Answer(good, WRITTEN)]

    verifying = those_stored(
        answers,
        lambda some: record.record(some, "reconciler:test", lambda: 1.0),
        lambda one, error: record.record_failure(one, error, "reconciler:test"),
    )

    assert [action.pk for action in verifying] == [good.action.pk]
    assert outcome(bad) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)


def test_an_unexpected_error_of_a_call_is_not_taken_for_an_answer() -> None:
    claim = sent()

    with pytest.raises(ValueError, match="a defect"):
        recorded(Answer(claim, ValueError("a defect")))
    assert outcome(claim) == (S.APPLYING, "")
