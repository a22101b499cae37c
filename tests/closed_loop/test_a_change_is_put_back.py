"""An action stores the fields that it changes, before and after. Its inverse puts them back."""

from typing import Any

import pytest

from orchestrator.decide.direct import admit_direct
from orchestrator.models import Action
from signals import actors
from signals.proposals.images import Irreversible
from signals.proposals.restart import FIELD
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.world import World, deployment

pytestmark = pytest.mark.django_db(transaction=True)
TARGET = Target("default", "smartops-dev", "erp-simulator")


def act(world: World, type_: ActionType, params: Any) -> Action:
    asked = admit_direct(Proposal(type_, TARGET, Origin.DIRECT, params, verify=False), actors.token("ana"))
    world.drain()
    return Action.objects.get(pk=asked.pk)


@pytest.mark.parametrize(
    ("type_", "params", "before", "after"),
    [
        (ActionType.SCALE, {"replicas": 3}, {"spec.replicas": 2}, {"spec.replicas": 3}),
        (
            ActionType.PATCH,
            {"patch": {"metadata": {"labels": {"team": "shop"}}, "spec": {"replicas": 3, "minReadySeconds": 1}}},
            {"spec.replicas": 2},
            {"metadata.labels.team": "shop", "spec.replicas": 3, "spec.minReadySeconds": 1},
        ),
    ],
)
def test_the_inverse_of_an_action_restores_the_object(
    world: World, type_: ActionType, params: Any, before: Any, after: Any
) -> None:
    world.deploy(deployment("erp-simulator"))

    done = act(world, type_, params)
    inverse = done.inverse(())
    undone = act(world, type_, inverse)

    assert (done.before_image, done.after_image) == (before, after)
    assert (undone.before_image, undone.after_image) == (after, before)


def test_a_restart_has_images_and_no_inverse(world: World) -> None:
    world.deploy(deployment("erp-simulator"))

    done = act(world, ActionType.RESTART, {})

    assert (done.before_image, done.after_image) == ({}, {FIELD: str(done.pk)})
    assert isinstance(done.inverse(()), Irreversible)
