"""What people do with one action. What is refused changes nothing."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import transaction

from guardrails.models import Cooldown
from orchestrator.acts import Done, NotDone, WhyNot
from orchestrator.acts.actions import (
    cancel,
    cancel_refusal,
    retry,
    retry_proposal,
    retry_refusal,
    settle,
    settle_refusal,
)
from orchestrator.models import FINAL, Action, ActionState, AuditEvent, Workload, transition_store, transitions
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType, Kind, Origin
from tests.kit.signals import NAMESPACE
from tests.kit.threads import at_once
from tests.kit.verbs import claim, requested, row

S = ActionState
ANA, OLGA = actors.user("ana"), actors.user("olga")


def unclear(name: str = "erp-simulator") -> Action:
    action = requested(name)
    claim(action, "reconciler:test")
    transition_store.store([transitions.require_review(action, "A write was not answered.", "reconciler:test")])
    return action


def ambiguous() -> Action:
    action = requested()
    claim(action, "reconciler:test")
    transition_store.store(
        [transitions.put_back(action, Reason.CLUSTER_ERROR, "no answer", 0.0, "reconciler:test", ambiguous=True)]
    )
    return action


def ended(state: ActionState, type_: ActionType = ActionType.SCALE, **columns: object) -> Action:
    """Not stored."""
    workload = Workload(cluster="default", namespace=NAMESPACE, kind=Kind.DEPLOYMENT, name="erp-simulator")
    return Action(workload=workload, state=state, type=type_, origin=Origin.CLOSED_LOOP, **columns)


class TestWhatMayBeDone:
    """Pure: on an action as it was read."""

    @pytest.mark.parametrize("state", S)
    def test_an_action_is_settled_that_needs_a_review(self, state: ActionState) -> None:
        assert (settle_refusal(ended(state)) is None) is (state is S.NEEDS_REVIEW)

    @pytest.mark.parametrize("state", S)
    def test_an_action_is_cancelled_that_waits(self, state: ActionState) -> None:
        assert (cancel_refusal(ended(state)) is None) is (state in (S.PENDING, S.AWAITING_APPROVAL))

    @pytest.mark.parametrize(
        ("state", "instead"),
        [
            (S.APPLYING, "A reconciler writes its change now. Wait for the outcome."),
            (S.VERIFYING, "Its change has been applied. To put the fields back, undo it when it has ended."),
            (S.NEEDS_REVIEW, "Its change may have been applied. Settle it instead."),
            (S.SUCCEEDED, "It has ended."),
        ],
    )
    def test_a_person_learns_what_to_do_instead_of_a_cancellation(self, state: ActionState, instead: str) -> None:
        refusal = cancel_refusal(ended(state))
        assert refusal is not None
        assert (refusal.why, refusal.message.endswith(instead)) == (WhyNot.STATE, True)

    def test_an_ambiguous_action_is_not_cancelled_and_the_person_learns_why(self) -> None:
        refusal = cancel_refusal(ended(S.PENDING, ambiguous=True))
        assert refusal is not None
        assert refusal.why is WhyNot.AMBIGUOUS
        assert "its change may have been applied" in refusal.message

    @pytest.mark.parametrize("state", S)
    def test_an_action_is_retried_that_ended_without_success(self, state: ActionState) -> None:
        assert (retry_refusal(ended(state)) is None) is (state in FINAL and state is not S.SUCCEEDED)

    @pytest.mark.parametrize(
        ("type_", "params", "change", "repeated"),
        [
            (ActionType.SCALE, {"delta": 1}, {"replicas": 3}, {"replicas": 3}),
            (ActionType.SCALE, {"delta": 1}, None, {"delta": 1}),
            (ActionType.SCALE, {"replicas": 3, "direction": "up"}, None, {"replicas": 3}),
            (ActionType.RESTART, {}, {"value": "0199"}, {}),
            (ActionType.PATCH, {"patch": {"a": 1}, "direction": "up"}, {"patch": {"a": 1}}, {"patch": {"a": 1}}),
        ],
    )
    def test_a_retry_aims_at_what_was_planned(
        self, type_: ActionType, params: object, change: object, repeated: object
    ) -> None:
        action = ended(S.FAILED, type_, params=params, change=change)
        proposal = retry_proposal(action, "The quota was raised.")
        assert (proposal.params, proposal.origin) == (repeated, Origin.DIRECT)
        assert proposal.reason == f"Retry of action {action.pk}: The quota was raised."


@pytest.mark.django_db
class TestSettle:
    @pytest.mark.parametrize(("applied", "state"), [(True, S.SUCCEEDED), (False, S.CANCELLED)])
    def test_the_person_and_the_reason_are_in_the_timeline(self, applied: bool, state: ActionState) -> None:
        action = unclear()

        assert isinstance(settle(action.pk, applied, OLGA, "I compared it."), Done)

        last = AuditEvent.objects.filter(action=action).latest("id")
        assert (last.to_state, last.reason, last.actor) == (state, Reason.REVIEWED, OLGA)
        assert "I compared it." in last.message
        assert Cooldown.objects.exists() is applied

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
    def test_a_settlement_without_a_reason_changes_nothing(self, reason: str) -> None:
        action = unclear()
        outcome = settle(action.pk, True, OLGA, reason)
        assert isinstance(outcome, NotDone)
        assert (outcome.why, row(action).state) == (WhyNot.REASON, S.NEEDS_REVIEW)

    def test_an_action_that_does_not_exist_is_not_settled(self) -> None:
        outcome = settle(uuid4(), True, OLGA, "I compared it.")
        assert isinstance(outcome, NotDone)
        assert outcome.why is WhyNot.GONE

    def test_who_comes_second_learns_who_was_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        action = unclear()
        stale = row(action)
        settle(action.pk, True, ANA, "It is there.")
        monkeypatch.setattr("orchestrator.acts.actions._find", lambda _: stale)

        outcome = settle(action.pk, False, OLGA, "It is not there.")

        assert isinstance(outcome, NotDone)
        assert (outcome.why, "user:ana was first" in outcome.message) == (WhyNot.CHANGED, True)
        assert row(action).state == S.SUCCEEDED


@pytest.mark.django_db
class TestCancel:
    def test_a_pending_action_is_cancelled_under_the_name_of_the_person(self) -> None:
        action = requested()
        assert isinstance(cancel(action.pk, OLGA, "The release comes first."), Done)
        last = AuditEvent.objects.filter(action=action).latest("id")
        assert (last.to_state, last.reason, last.actor) == (S.CANCELLED, Reason.CANCELLED, OLGA)
        assert last.message == "user:olga cancelled the action: The release comes first."

    def test_an_ambiguous_action_stays(self) -> None:
        action = ambiguous()
        outcome = cancel(action.pk, OLGA)
        assert isinstance(outcome, NotDone)
        assert (outcome.why, row(action).state) == (WhyNot.AMBIGUOUS, S.PENDING)


@pytest.mark.django_db
class TestRetry:
    def test_a_failed_action_is_requested_again_as_a_direct_action_of_the_person(self) -> None:
        action = requested()
        claim(action, "reconciler:test")
        transition_store.store([transitions.fail(action, Reason.CLUSTER_REJECTED, "exceeded quota", "reconciler:test")])

        outcome = retry(action.pk, OLGA, "The quota was raised.", key="form-1")

        assert isinstance(outcome, Done)
        assert outcome.action is not None
        again = row(outcome.action)
        assert (again.requested_by, again.origin, again.state) == (OLGA, Origin.DIRECT, S.PENDING)
        assert (again.params, again.workload_id) == (action.params, action.workload_id)

    def test_the_same_form_sent_twice_is_one_action(self) -> None:
        action = requested()
        cancel(action.pk, OLGA)
        first, second = retry(action.pk, OLGA, key="form-1"), retry(action.pk, OLGA, key="form-1")
        assert isinstance(first, Done)
        assert isinstance(second, Done)
        assert first.action == second.action

    def test_a_guardrail_may_refuse_a_retry(self) -> None:
        action = requested()
        cancel(action.pk, OLGA)
        other = requested()  # on the same workload
        outcome = retry(action.pk, OLGA)
        assert isinstance(outcome, NotDone)
        assert outcome.decision is not None
        assert (outcome.why, outcome.decision.reason) == (WhyNot.REFUSED, Reason.TARGET_BUSY)
        assert str(other.pk) in outcome.message


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_two_people_settle_at_once_and_one_is_first(self) -> None:
        for number in range(5):
            action = unclear(f"erp-{number}")
            works: list[Callable[[], object]] = [
                lambda: settle(action.pk, True, ANA, "It is there."),  # noqa: B023 - it runs in this round
                lambda: settle(action.pk, False, OLGA, "It is not there."),  # noqa: B023
            ]
            outcomes = at_once(works)
            assert sorted(type(one).__name__ for one in outcomes) == ["Done", "NotDone"]
            done = next(place for place, one in enumerate(outcomes) if isinstance(one, Done))
            assert row(action).state == (S.SUCCEEDED, S.CANCELLED)[done]

    def test_either_a_reconciler_claims_an_action_or_a_person_cancels_it(self) -> None:
        from orchestrator.reconciler.claim import claim_due

        for number in range(10):
            action = requested(f"erp-{number}")
            works: list[Callable[[], object]] = [
                lambda: cancel(action.pk, OLGA),  # noqa: B023 - it runs in this round
                lambda: claim_due("default", 100, "reconciler:test"),
            ]
            cancelled, claims = at_once(works)
            assert isinstance(claims, list)
            if isinstance(cancelled, Done):
                assert (row(action).state, claims) == (S.CANCELLED, [])
            else:
                assert isinstance(cancelled, NotDone)
                assert cancelled.why in (WhyNot.CHANGED, WhyNot.STATE)
                assert (row(action).state, len(claims)) == (S.APPLYING, 1)

    def test_an_act_waits_for_a_stuck_session_for_a_moment_only(self) -> None:
        action = requested()
        with transaction.atomic():
            Workload.lock([action.workload.target])
            [outcome] = at_once([lambda: cancel(action.pk, OLGA)])
        assert isinstance(outcome, NotDone)
        assert (outcome.why, row(action).state) == (WhyNot.LOCKED, S.PENDING)
