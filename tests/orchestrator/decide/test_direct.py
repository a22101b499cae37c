"""A direct request for a workload on which another action is active."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.db import transaction

from guardrails.types import Limits
from orchestrator.acts import Done
from orchestrator.acts.direct import request
from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.k8s.target import TargetState
from orchestrator.models import (
    Action,
    ActionState,
    ActiveAction,
    DecisionRecord,
    Workload,
    transition_store,
    transitions,
)
from orchestrator.models.transition_store import Asks
from orchestrator.reconciler import plan
from orchestrator.reconciler.calls import Reading
from orchestrator.reconciler.next_step import NextStep
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.deployments import live
from tests.kit.signals import NAMESPACE
from tests.kit.verbs import claim, propose, row

pytestmark = pytest.mark.django_db
S = ActionState
TARGET = Target("default", NAMESPACE, "erp-simulator")
BY, OF_RULE = "reconciler:test", actors.rule("scale-up")
ROLLOUT = "A rollout of smartops-dev/erp-simulator is in progress."


def active(origin: Origin = Origin.CLOSED_LOOP) -> Action:
    with transaction.atomic():
        workload = Workload.lock([TARGET])[TARGET]
    by = OF_RULE if origin is Origin.CLOSED_LOOP else actors.token("deployer")
    return propose(Proposal(ActionType.SCALE, TARGET, origin, {"replicas": 3}), workload, by)


def asked(action: Action) -> None:
    asks = Asks({}, "d1", Reason.APPROVAL_REQUIRED, "", {}, 600)
    transition_store.store([transitions.claim(action, BY)])
    transition_store.store([transitions.ask(action, {"change": {"replicas": 3}}, asks, BY)])


def approved(action: Action) -> None:
    asked(action)
    transition_store.store([transitions.approve(action, "Approved.", {}, "user:ana")])


def claimed(action: Action) -> None:
    claim(action, BY)


def planned(action: Action) -> None:
    transition_store.store([transitions.plan(action, live(), {"replicas": 3}, 1, BY)])


def deferred(action: Action) -> None:
    planned(action)
    transition_store.store([transitions.put_back(action, Reason.ROLLOUT_IN_PROGRESS, ROLLOUT, 60, BY, ambiguous=False)])


def ambiguous(action: Action) -> None:
    planned(action)
    transition_store.store(
        [transitions.put_back(action, Reason.CLUSTER_UNREACHABLE, "timed out", 60, BY, ambiguous=True)]
    )


def reclaimed(action: Action) -> None:
    """By another process, after the first had planned it."""
    ambiguous(action)
    claim(action, BY)


def verifying(action: Action) -> None:
    planned(action)
    transition_store.store([transitions.apply(action, live(version="8"), Limits(), BY)])


def unclear(action: Action) -> None:
    planned(action)
    transition_store.store([transitions.require_review(action, "The answer was lost.", BY)])


def pending(action: Action) -> None:
    """As it was admitted."""


UNWRITTEN = [pending, asked, approved, claimed, deferred]
MAY_BE_WRITTEN = {
    planned: "A reconciler writes its change now.",
    ambiguous: "Its change may have been applied: the next attempt reads the workload first. timed out",
    reclaimed: "A reconciler writes its change now.",
    verifying: "Its change has been applied, and its rollout is being verified.",
    unclear: "It is not known whether its change was applied: settle it first.",
}


def direct(*, dry_run: bool = False) -> Action:
    proposal = Proposal(ActionType.SCALE, TARGET, Origin.DIRECT, {"replicas": 5}, dry_run=dry_run)
    return admit_direct(proposal, actors.user("ana"))


@pytest.mark.parametrize("becomes", UNWRITTEN)
def test_it_ends_an_action_of_the_closed_loop_that_is_not_written(becomes: Callable[[Action], None]) -> None:
    waits = active()
    becomes(waits)

    another = direct()

    ended = row(waits)
    assert (ended.state, ended.reason, ended.moved_by) == (S.CANCELLED, Reason.OVERRIDDEN, "user:ana")
    assert ended.message == f"user:ana requested the direct action {another.pk} of the workload."
    assert (row(another).state, row(another).details) == (S.PENDING, {"overrides": str(waits.pk)})
    assert ActiveAction.objects.get().action == another
    assert DecisionRecord.objects.get().outcome == "allow"


@pytest.mark.parametrize(("becomes", "words"), MAY_BE_WRITTEN.items())
def test_it_is_refused_while_another_action_may_be_written(becomes: Callable[[Action], None], words: str) -> None:
    other = active()
    becomes(other)
    before = row(other).state

    with pytest.raises(Refused) as refused:
        direct()

    assert refused.value.decision.reason is Reason.TARGET_BUSY
    assert str(refused.value) == f"Action {other.pk} on {TARGET} has not finished. {words}"
    assert row(other).state == before
    assert DecisionRecord.objects.get().message == str(refused.value)


@pytest.mark.parametrize("becomes", [pending, approved, claimed])
def test_it_is_refused_while_another_direct_action_is_about_to_be_written(becomes: Callable[[Action], None]) -> None:
    other = active(Origin.DIRECT)
    becomes(other)

    with pytest.raises(Refused) as refused:
        direct()

    assert refused.value.decision.reason is Reason.TARGET_BUSY
    assert row(other).state in (S.PENDING, S.APPLYING)


def test_a_refusal_names_who_requested_the_action_that_waits_and_what_for() -> None:
    other = active(Origin.DIRECT)
    claimed(other)
    transition_store.store(
        [transitions.put_back(other, Reason.CLUSTER_UNREACHABLE, "No route to host.", 60, BY, ambiguous=False)]
    )

    with pytest.raises(Refused) as refused:
        direct()

    words = "It was requested by token:deployer, and waits to be written. No route to host. Cancel it, or wait."
    assert str(refused.value).endswith(words)


def test_it_ends_a_direct_action_that_waits_for_persons() -> None:
    waits = active(Origin.DIRECT)
    asked(waits)

    direct()

    assert (row(waits).state, row(waits).reason) == (S.CANCELLED, Reason.OVERRIDDEN)


@pytest.mark.parametrize("becomes", [*UNWRITTEN, *MAY_BE_WRITTEN])
def test_a_dry_run_is_made_beside_any_action_and_ends_none(becomes: Callable[[Action], None]) -> None:
    other = active()
    becomes(other)
    before = row(other).state

    first, second = direct(dry_run=True), direct(dry_run=True)

    assert {row(first).state, row(second).state} == {S.PENDING}
    assert row(other).state == before


def test_a_dry_run_keeps_no_action_from_its_workload() -> None:
    dry_run = direct(dry_run=True)

    assert row(direct()).state == S.PENDING
    assert row(dry_run).state == S.PENDING


def test_a_reconciler_that_has_claimed_what_was_ended_writes_nothing() -> None:
    waits = active()
    held = claim(waits, BY)
    direct()

    state = TargetState(seen=True, object=replace(live(), generation=4))

    assert plan.plan([Reading(held, NextStep.PLAN, state)], BY, lambda: 1.0) == []
    assert row(waits).state == S.CANCELLED


def test_the_person_learns_what_has_ended() -> None:
    waits = active()

    outcome = request(Proposal(ActionType.RESTART, TARGET, Origin.DIRECT, {}), actors.user("ana"))

    assert isinstance(outcome, Done)
    assert outcome.message.endswith(f"is requested. It takes the place of action {waits.pk}, which was not applied.")
