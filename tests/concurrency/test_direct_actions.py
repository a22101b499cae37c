"""Direct requests and reconcilers that meet on one workload, on connections of their own: one of them has the
workload, and at most one change is written."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.k8s.target import TargetState
from orchestrator.models import Action, ActionState, ActiveAction, Workload
from orchestrator.reconciler import plan
from orchestrator.reconciler.batch import Locked
from orchestrator.reconciler.calls import Reading
from orchestrator.reconciler.claim import claim_due
from orchestrator.reconciler.next_step import NextStep
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.deployments import live
from tests.kit.signals import NAMESPACE
from tests.kit.threads import at_once, unlocked
from tests.kit.verbs import claim, propose, row

pytestmark = pytest.mark.django_db(transaction=True)
S = ActionState
TARGET = Target("default", NAMESPACE, "erp-simulator")
BY = "reconciler:test"
ROUNDS = range(5)


def waits() -> Action:
    """A pending action of the closed loop."""
    with transaction.atomic():
        workload = Workload.lock([TARGET])[TARGET]
    proposal = Proposal(ActionType.SCALE, TARGET, Origin.CLOSED_LOOP, {"replicas": 3})
    return propose(proposal, workload, actors.rule("scale-up"))


def requesting(name: str) -> Callable[[], Any]:
    def request() -> Action | Reason:
        try:
            proposal = Proposal(ActionType.SCALE, TARGET, Origin.DIRECT, {"replicas": 5})
            return unlocked(lambda: admit_direct(proposal, actors.user(name)))
        except Refused as refused:
            return refused.decision.reason

    return request


def planning(held: Any = None) -> list[Any]:
    """A reconciler claims what is due, unless it has, and plans it: what it may write."""
    for claimed in [held] if held is not None else claim_due("default", 10, BY):
        reading = Reading(claimed, NextStep.PLAN, TargetState(seen=True, object=live()))
        while True:
            try:
                return [one.action.pk for one in plan.plan([reading], BY, lambda: 1.0)]
            except Locked:  # it tries again in its next pass
                continue
    return []


@pytest.mark.parametrize("_", ROUNDS)
def test_either_a_direct_action_ends_what_waits_or_a_reconciler_writes_it(_: int) -> None:
    action = waits()

    direct, written = at_once([requesting("ana"), planning])

    if isinstance(direct, Action):
        assert (row(action).state, row(action).planned_resource_version) == (S.CANCELLED, "")
        assert action.pk not in written  # it may be the direct one
    else:
        assert (direct, written) == (Reason.TARGET_BUSY, [action.pk])
        assert row(action).state == S.APPLYING
    assert ActiveAction.objects.count() == 1


@pytest.mark.parametrize("_", ROUNDS)
def test_either_a_direct_action_ends_what_is_claimed_or_its_plan_is_stored(_: int) -> None:
    action = waits()
    held = claim(action, BY)

    direct, written = at_once([requesting("ana"), lambda: planning(held)])

    assert (written == []) is isinstance(direct, Action)
    assert row(action).state == (S.CANCELLED if isinstance(direct, Action) else S.APPLYING)
    assert ActiveAction.objects.count() == 1


@pytest.mark.parametrize("_", ROUNDS)
def test_of_two_direct_actions_one_takes_the_place_of_what_waits(_: int) -> None:
    action = waits()

    outcomes = at_once([requesting("ana"), requesting("ben")])

    [admitted] = [one for one in outcomes if isinstance(one, Action)]
    assert Reason.TARGET_BUSY in outcomes
    assert (row(action).state, row(action).reason) == (S.CANCELLED, Reason.OVERRIDDEN)
    assert row(admitted).details == {"overrides": str(action.pk)}
