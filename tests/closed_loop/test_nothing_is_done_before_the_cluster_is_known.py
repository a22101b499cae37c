"""A reconciler that has just started does not know yet which workloads an autoscaler scales."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from orchestrator.decide.direct import admit_direct
from orchestrator.models import Action, ActionState
from signals import actors
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE
from tests.kit.verbs import claim, execute
from tests.kit.world import World, deployment, only_action


@pytest.fixture
def asked(world: World) -> Action:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    target = Target("default", NAMESPACE, "erp-simulator")
    return admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("somebody"))


@pytest.mark.parametrize("silent", [False, True], ids=["what is due", "what fell silent"])
def test_no_action_is_claimed_before_the_reconciler_has_seen_its_cluster(
    world: World, asked: Action, silent: bool
) -> None:
    if silent:
        claim(asked, "reconciler:silent")
        Action.objects.update(lease_until=Now() - timedelta(seconds=1))
    reconciler = world.reconciler()

    reconciler.run_once()
    reconciler.pool.close()
    left = only_action()
    assert (left.state, left.epoch) == (asked.state, asked.epoch)
    assert world.writes() == []

    draining = world.reconciler()
    draining._next_sweep = float("inf")  # as if its only one had come too early
    draining.run(drain=True)
    assert only_action().state == ActionState.SUCCEEDED


def test_a_pending_verification_does_not_keep_the_loop_busy(world: World, asked: Action) -> None:
    execute(claim(asked, "reconciler:another"), world.cluster, world.observe, "reconciler:another")
    reconciler = world.reconciler()

    reconciler.run_once()
    assert len(reconciler.verifications) == 1
    assert reconciler._patience() > 0

    world.drain()
    assert only_action().state == ActionState.SUCCEEDED
