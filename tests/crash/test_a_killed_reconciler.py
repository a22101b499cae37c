"""SIGKILL at any step: the next reconciler finishes the work, and nothing is done twice."""

import pytest
import urllib3

from orchestrator.models import ActionState
from smartops.dev.sandbox.faults import Hang, LoseAnswer
from tests.crash.victims import Victims, assert_done_once, leases_are_over
from tests.kit.processes import until
from tests.kit.referee import Referee
from tests.kit.signals import NAMESPACE
from tests.kit.world import World, only_action

pytestmark = pytest.mark.usefixtures("one_trouble")


@pytest.mark.parametrize(
    "point",
    [
        "the admission is written, not committed",
        "admitted and planned",
        "the plan is written, not committed",
        "the cluster has changed",
        "the effect is recorded, not committed",
        "the effect is recorded",
        "the rollout was judged",
        "the outcome is written, not committed",
        "verified",
    ],
)
def test_what_a_killed_reconciler_began_is_done_once(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    victims.kill(point)

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)


@pytest.mark.parametrize("point", ["the target was looked at", "planned anew"])
@pytest.mark.usefixtures("one_conflict")
def test_what_a_killed_reconciler_began_anew_is_done_once(
    world: World, referee: Referee, victims: Victims, point: str
) -> None:
    victims.kill(point)

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the plan is written, not committed", "admitted and planned"),
        ("admitted and planned", "the target was looked at"),
        ("admitted and planned", "planned anew"),
        ("admitted and planned", "the cluster has changed"),
        ("the cluster has changed", "the target was looked at"),
        ("the cluster has changed", "the effect is recorded, not committed"),
        ("the effect is recorded", "the outcome is written, not committed"),
    ],
)
def test_the_rescuer_may_be_killed_as_well(
    world: World, referee: Referee, victims: Victims, first: str, second: str
) -> None:
    victims.kill(first)
    leases_are_over()
    victims.kill(second)

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)


def test_a_write_that_landed_while_its_sender_waited_for_the_answer_is_not_repeated(
    world: World, referee: Referee, victims: Victims
) -> None:
    world.sandbox.fault(LoseAnswer(method="PATCH", hang=True))
    victims.start()
    referee.wait_for_an_answer()
    victims.kill_now()

    leases_are_over()
    world.drain()

    assert_done_once(world, referee)
    assert referee.answers == [200]


def test_a_write_that_arrives_long_after_its_sender_died_changes_nothing(
    world: World, referee: Referee, victims: Victims
) -> None:
    world.sandbox.fault(Hang(method="PATCH"))
    victims.start()
    until(lambda: any(request.method == "PATCH" for request in world.sandbox.requests))
    victims.kill_now()
    [late] = [request for request in world.sandbox.requests if request.method == "PATCH"]

    leases_are_over()
    world.drain()

    assert world.deliver(late) == 409
    assert_done_once(world, referee)
    assert referee.answers == [200, 409]


@pytest.mark.parametrize(("point", "effects"), [("admitted and planned", 0), ("the cluster has changed", 1)])
def test_a_rescuer_does_not_plan_anew_where_the_effect_may_have_been_undone(
    world: World, referee: Referee, victims: Victims, point: str, effects: int
) -> None:
    victims.kill(point)
    urllib3.request(
        "PATCH",
        f"{world.sandbox.url}/apis/apps/v1/namespaces/{NAMESPACE}/deployments/erp-simulator?fieldManager=somebody",
        json={"metadata": {"annotations": None}, "spec": {"replicas": 2, "paused": True}},
        headers={"Content-Type": "application/merge-patch+json"},
        retries=False,
    )

    leases_are_over()
    world.drain()

    assert only_action().state == ActionState.NEEDS_REVIEW
    assert len(referee.effects) == effects
    assert world.replicas("erp-simulator") == 2
