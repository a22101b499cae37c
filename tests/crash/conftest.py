"""Victims of one test, and what they work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails.models import GuardrailSetting
from smartops.dev.sandbox.faults import Refuse
from tests.crash.victims import Victims
from tests.kit.referee import Referee
from tests.kit.signals import anomaly, post
from tests.kit.world import World, deployment


@pytest.fixture
def victims(world: World, tmp_path: Path) -> Iterator[Victims]:
    found = Victims(world.sandbox.kubeconfig, tmp_path / "victims")
    yield found
    found.close()


@pytest.fixture
def referee(world: World) -> Referee:
    return Referee(world.sandbox)


@pytest.fixture
def one_trouble(world: World) -> None:
    """It calls for one more replica."""
    GuardrailSetting.objects.update(cooldown_seconds=0)  # nothing but the protocol holds a second effect back
    world.deploy(deployment("erp-simulator", replicas=2, ready_after="0"))
    post(anomaly("erp-simulator"))


@pytest.fixture
def one_conflict(world: World) -> None:
    """The first write is refused: whoever sent it looks, and plans anew."""
    world.sandbox.fault(Refuse(method="PATCH", status=409))
