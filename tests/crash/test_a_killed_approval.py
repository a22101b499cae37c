"""SIGKILL between an approval and the end of its action: at most one effect, no approval is lost, and none counts after
its time or for something else."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from orchestrator.acts import Done, NotDone, Outcome
from orchestrator.acts.vote import vote
from orchestrator.models import Action, ActionState, Approval, AuditEvent, Vote
from signals import actors
from signals.reasons import Reason
from smartops.people.approvals import objection
from tests.crash.victims import Victims, leases_are_over
from tests.kit.referee import Referee
from tests.kit.signals import anomaly, post
from tests.kit.world import World, deployment, only_action

S = ActionState


@pytest.fixture(autouse=True)
def waiting(world: World) -> Action:
    """A signal's action that waits for one approval."""
    GuardrailSetting.objects.update(cooldown_seconds=0, mode="approve")
    for name in ("ana", "ben"):
        User.objects.create_superuser(name)
    world.deploy(deployment("erp-simulator", replicas=2, ready_after="0"))
    post(anomaly("erp-simulator"))
    world.drain()
    assert state() == S.AWAITING_APPROVAL
    return the_action()


def the_action() -> Action:
    return Action.objects.select_related("workload").get()


def state() -> str:
    return the_action().state


def approve(by: str = "ana", digest: str = "") -> Outcome:
    action, user = the_action(), User.objects.get(username=by)
    return vote(action.pk, digest or action.digest, actors.user(by), Vote.APPROVE, "", lambda one: objection(user, one))


def entered(to: S) -> int:
    return AuditEvent.objects.filter(to_state=to).exclude(from_state=to).count()


def assert_done_once(world: World, referee: Referee) -> None:
    action = only_action()
    assert (action.state, action.reason) == (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)
    assert [effect.action for effect in referee.effects] == [str(action.pk)]
    assert world.replicas("erp-simulator") == 3
    assert entered(S.AWAITING_APPROVAL) == 1, "the approval was lost"


@pytest.mark.parametrize(
    "point",
    [
        "claimed, not committed",
        "claimed",
        "planned anew",
        "the cluster has changed",
        "the effect is recorded",
        "the rollout was judged",
    ],
)
def test_what_was_approved_is_done_once(world: World, referee: Referee, victims: Victims, point: str) -> None:
    approve()
    victims.kill(point)

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)


@pytest.mark.parametrize(
    ("first", "second"),
    [("claimed", "planned anew"), ("the cluster has changed", "the outcome is written, not committed")],
)
def test_the_rescuer_of_what_was_approved_may_be_killed_as_well(
    world: World, referee: Referee, victims: Victims, first: str, second: str
) -> None:
    approve()
    victims.kill(first)
    leases_are_over()
    victims.kill(second)

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)


@pytest.mark.parametrize("point", ["claimed, not committed", "claimed"])
def test_what_was_approved_is_not_done_after_its_deadline(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    """No reconciler lives for a quarter of an hour."""
    approve()
    victims.kill(point)
    Action.objects.update(deadline_at=Now() - timedelta(seconds=1))

    leases_are_over()
    world.drain()

    assert (state(), the_action().reason) == (S.CANCELLED, Reason.ACTION_EXPIRED)
    assert referee.effects == []


@pytest.mark.parametrize("point", ["expired, not committed", "expired"])
def test_what_has_expired_is_not_approved_whoever_is_killed(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    Action.objects.update(deadline_at=Now() - timedelta(seconds=1))
    victims.kill(point)

    late = approve()
    world.drain()

    assert isinstance(late, NotDone)
    assert (state(), referee.effects) == (S.EXPIRED, [])
    assert not Approval.objects.exists()


@pytest.mark.parametrize("point", ["asked, not committed", "asked again"])
def test_what_has_changed_is_shown_again_and_earlier_approvals_do_not_count(
    world: World, referee: Referee, victims: Victims, waiting: Action, point: str
) -> None:
    GuardrailSetting.objects.update(max_replicas=7)
    victims.kill(point)
    world.drain()

    assert isinstance(approve(digest=waiting.digest), NotDone)
    assert entered(S.AWAITING_APPROVAL) == 1
    assert AuditEvent.objects.filter(to_state=S.AWAITING_APPROVAL).count() == 2  # at first, and once again
    assert isinstance(approve(), Done)
    world.drain()
    assert_done_once(world, referee)


@pytest.mark.parametrize("point", ["asked, not committed", "planned anew"])
def test_what_has_changed_since_its_approval_is_not_written(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    approve()
    GuardrailSetting.objects.update(max_replicas=7)
    victims.kill(point)

    leases_are_over()
    world.drain()

    assert (state(), referee.effects) == (S.AWAITING_APPROVAL, [])
    assert isinstance(approve("ben"), Done)
    world.drain()
    assert [effect.action for effect in referee.effects] == [str(the_action().pk)]


@pytest.mark.parametrize(
    ("point", "is_whole"),
    [("the vote is written, not committed", False), ("approved, not committed", False), ("approved", True)],
)
def test_a_web_process_that_is_killed_leaves_a_whole_vote_or_none(
    world: World, referee: Referee, victims: Victims, waiting: Action, point: str, is_whole: bool
) -> None:
    victims.kill_web(point, "ana", f"/console/approvals/{waiting.pk}/approve/", waiting.digest)

    assert Approval.objects.count() == entered(S.PENDING) == int(is_whole)
    assert state() == (S.PENDING if is_whole else S.AWAITING_APPROVAL)
    assert isinstance(approve("ben"), NotDone if is_whole else Done)
    world.drain()
    assert_done_once(world, referee)


def test_a_web_process_that_is_killed_with_the_first_of_two_votes_leaves_the_other_to_count(
    world: World, referee: Referee, victims: Victims
) -> None:
    GuardrailSetting.objects.update(approvals_required=2)
    world.drain()
    action = the_action()
    path = f"/console/approvals/{action.pk}/approve/"
    victims.kill_web("the vote is written, not committed", "ana", path, action.digest)
    victims.kill_web("approved", "ana", path, action.digest)

    assert (state(), Approval.objects.count()) == (S.AWAITING_APPROVAL, 1)
    assert isinstance(approve("ben"), Done)
    world.drain()
    assert [effect.action for effect in referee.effects] == [str(action.pk)]
