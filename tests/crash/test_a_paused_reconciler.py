"""SIGSTOP, a rescue, SIGCONT: whoever wakes up too late changes nothing any more, neither there nor here."""

import pytest

from orchestrator.models import Action
from orchestrator.reconciler.reclaim import reclaim
from tests.crash.victims import Victims, assert_done_once, leases_are_over
from tests.kit.referee import Referee
from tests.kit.verbs import execute
from tests.kit.world import World, only_action

pytestmark = pytest.mark.usefixtures("one_trouble")


@pytest.mark.parametrize(
    "point",
    [
        "admitted and planned",
        "the cluster has changed",
        "the rollout was judged",
    ],
)
def test_a_reconciler_that_wakes_up_after_its_action_was_finished_changes_nothing(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    victims.pause(point)
    leases_are_over()
    world.drain()
    assert_done_once(world, referee)
    action, events = Action.objects.values().get(), only_action().events.count()

    victims.resume()

    assert_done_once(world, referee)
    assert Action.objects.values().get() == action
    assert only_action().events.count() == events


@pytest.mark.parametrize("point", ["admitted and planned", "the cluster has changed"])
def test_a_reconciler_that_wakes_up_beside_its_rescuer_leaves_the_action_to_it(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    victims.pause(point)
    leases_are_over()
    [taken] = reclaim("default", "reconciler:rescuer")

    victims.resume()
    execute(taken, world.cluster, observe=world.observe, actor="reconciler:rescuer")
    world.drain()

    assert_done_once(world, referee)
    after_it = only_action().events.filter(epoch__gte=taken.action.epoch).exclude(actor="reconciler:rescuer")
    assert {event.to_state for event in after_it} <= {"succeeded"}


@pytest.mark.parametrize("point", ["the target was looked at", "planned anew"])
@pytest.mark.usefixtures("one_conflict")
def test_a_reconciler_that_wakes_up_in_a_second_attempt_changes_nothing(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    victims.pause(point)
    leases_are_over()
    world.drain()
    assert_done_once(world, referee)

    victims.resume()

    assert_done_once(world, referee)
