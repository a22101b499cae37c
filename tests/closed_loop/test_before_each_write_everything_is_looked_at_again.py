"""A plan is no permission: between it and the write a process may die, and much may happen."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from guardrails.models import Freeze
from orchestrator.decide.direct import admit_direct
from orchestrator.models import Action, ActionState, transition_store, transitions
from orchestrator.reconciler import calls, plan
from orchestrator.reconciler.claim import claim_due
from orchestrator.reconciler.reclaim import reclaim
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.verbs import admit, execute
from tests.kit.world import World, deployment, only_signal

REPORTED = anomaly("erp-simulator")


@pytest.fixture
def planned(world: World) -> Action:
    """Planned by a process that then fell silent; its lease is over."""
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    post(REPORTED)
    claim = admit(only_signal().pk, world.observe, "reconciler:first")
    assert claim is not None
    Action.objects.update(lease_until=Now() - timedelta(seconds=1))
    return claim.action


def go_on(world: World) -> tuple[str, str, bool]:
    """Another process takes it over. What has become of it: state, reason, and whether a copy may still land."""
    for claim in reclaim("default", "reconciler:second"):
        execute(claim, world.cluster, world.observe, "reconciler:second")
    return Action.objects.values_list("state", "reason", "ambiguous").get()


def freeze() -> None:
    Freeze.objects.create(reason="incident", by="user:ana")


def end_the_trouble() -> None:
    post(anomaly("erp-simulator", firing=False))


@pytest.mark.parametrize(("happen", "reason"), [(freeze, Reason.FROZEN), (end_the_trouble, Reason.SIGNAL_RESOLVED)])
def test_a_planned_change_is_not_written_any_more(
    world: World, planned: Action, happen: Callable[[], None], reason: Reason
) -> None:
    happen()

    assert go_on(world) == (ActionState.PENDING, reason, True)
    assert world.writes() == []


def test_a_planned_change_is_called_off_as_soon_as_no_copy_can_land(world: World, planned: Action) -> None:
    end_the_trouble()
    assert go_on(world) == (ActionState.PENDING, Reason.SIGNAL_RESOLVED, True)

    touch = {"metadata": {"labels": {"touched": "yes"}}}  # moves the version, and no generation
    world.cluster.patch_workload(planned.workload.key, touch)
    Action.objects.update(not_before=Now())
    world.drain()

    assert Action.objects.values_list("state", "reason").get() == (ActionState.CANCELLED, Reason.SIGNAL_RESOLVED)
    assert [write.body for write in world.writes() if b"smartops.io/action" in write.body] == []


def test_a_rescuer_that_read_the_row_before_the_plan_takes_nothing_over(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    target = Target("default", NAMESPACE, "erp-simulator")
    admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("ana"))
    [claim] = claim_due("default", 1, "reconciler:first")
    read_before_the_plan = Action.objects.select_related("workload", "signal").get()
    reading = calls.read(claim, world.cluster, world.observe(target))
    assert plan.plan([reading], "reconciler:first", lambda: 1.0) == [claim]
    calls.write(claim, world.cluster)  # and dies
    Action.objects.update(lease_until=Now() - timedelta(seconds=1))

    assert transition_store.store([transitions.reclaim(read_before_the_plan, "reconciler:slow")]) == []

    go_on(world)
    world.drain()
    assert Action.objects.get().state == ActionState.SUCCEEDED
    assert (world.replicas("erp-simulator"), len(world.writes())) == (3, 1)
