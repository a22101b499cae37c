"""Persons and reconcilers that decide on one action at the same moment, on connections of their own."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from orchestrator.acts import Done, NotDone
from orchestrator.acts.vote import vote
from orchestrator.k8s.target import TargetState
from orchestrator.models import Action, ActionState, Approval, AuditEvent, Vote, transition_store, transitions
from orchestrator.models.transition_store import Asks
from orchestrator.reconciler import approvals, claim, reclaim
from signals import actors
from signals.reasons import Reason
from tests.kit.deployments import live
from tests.kit.threads import at_once, unlocked
from tests.kit.verbs import requested

pytestmark = pytest.mark.django_db(transaction=True)
S = ActionState
ROUNDS = range(5)


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> None:
    for name in ("ana", "ben"):
        User.objects.create_superuser(name)


def asked(required: int = 1) -> Action:
    action = requested()
    shown = {"uid": "u1", "generation": 3, "limits": {"approvals_required": required}}
    asks = Asks(shown, "d1", Reason.APPROVAL_REQUIRED, "", {}, 600)
    transition_store.store([transitions.claim(action, "reconciler:test")])
    transition_store.store([transitions.ask(action, {"change": {"replicas": 3}}, asks, "reconciler:test")])
    return action


def deciding(action: Action, name: str, decision: Vote = Vote.APPROVE) -> Callable[[], Any]:
    return lambda: unlocked(lambda: vote(action.pk, "d1", actors.user(name), decision, "Because.", lambda _: ""))


def entered(action: Action, state: S) -> int:
    return AuditEvent.objects.filter(action=action, to_state=state).exclude(from_state="").count()


@pytest.mark.parametrize("_", ROUNDS)
def test_both_of_two_required_approvals_count_once(_: int) -> None:
    action = asked(required=2)

    outcomes = at_once([deciding(action, "ana"), deciding(action, "ben")])

    assert all(isinstance(one, Done) for one in outcomes)
    action.refresh_from_db()
    assert (action.state, entered(action, S.PENDING)) == (S.PENDING, 1)


@pytest.mark.parametrize("_", ROUNDS)
def test_of_an_approval_and_a_rejection_the_first_decides(_: int) -> None:
    action = asked()

    outcomes = at_once([deciding(action, "ana"), deciding(action, "ben", Vote.REJECT)])

    action.refresh_from_db()
    assert action.state == (S.PENDING if isinstance(outcomes[0], Done) else S.REJECTED)
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    assert Approval.objects.filter(action=action).count() == 1


@pytest.mark.parametrize("_", ROUNDS)
def test_an_approval_at_the_last_moment_counts_or_finds_it_expired(_: int) -> None:
    action = asked()
    Action.objects.filter(pk=action.pk).update(deadline_at=Now() + timedelta(milliseconds=30))

    def expiring() -> Any:
        for _ in range(20):
            reclaim.expire_actions("reconciler:test")

    outcome, _none = at_once([deciding(action, "ana"), expiring])

    reclaim.expire_actions("reconciler:test")
    action.refresh_from_db()
    approved = isinstance(outcome, Done)
    assert Approval.objects.filter(action=action).count() == int(approved)
    assert (action.state == S.PENDING) is approved


@pytest.mark.parametrize("_", ROUNDS)
def test_no_approval_counts_for_what_is_shown_again(_: int) -> None:
    action = asked()
    state = TargetState(seen=True, object=live(generation=4))

    def asking() -> Any:
        rows = approvals.waiting("default")
        return unlocked(lambda: approvals.ask_again(rows, lambda _: state, "reconciler:test"))

    outcome, _again = at_once([deciding(action, "ana"), asking])

    action.refresh_from_db()
    if isinstance(outcome, NotDone):
        assert (action.state, action.digest == "d1") == (S.AWAITING_APPROVAL, False)
        assert not Approval.objects.filter(action=action).exists()
    else:
        assert (action.state, action.digest) == (S.PENDING, "d1")  # the check before the write shows it again


@pytest.mark.parametrize("_", ROUNDS)
def test_two_reconcilers_show_a_change_once(_: int) -> None:
    action = asked()
    state = TargetState(seen=True, object=live(generation=4))

    def asking() -> Any:
        rows = approvals.waiting("default")
        return unlocked(lambda: approvals.ask_again(rows, lambda _: state, "reconciler:test"))

    at_once([asking, asking])

    assert entered(action, S.AWAITING_APPROVAL) == 2  # when it was asked first, and again


@pytest.mark.parametrize("_", ROUNDS)
def test_an_approved_action_is_claimed_once_while_persons_still_decide(_: int) -> None:
    action = asked()
    deciding(action, "ana")()

    def claiming() -> Any:
        return [one.action.pk for one in claim.claim_due("default", 10, "reconciler:test")]

    claims, late, others = at_once([claiming, deciding(action, "ben", Vote.REJECT), claiming])

    assert isinstance(late, NotDone)
    claimed = [*claims, *others]  # none while the late decision holds the row: then it is claimed in the next pass
    assert (claimed or claiming()) == [action.pk]
    assert claiming() == []
