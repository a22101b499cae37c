"""A database that answers, and does not do what it is asked: its disk is full, it has become read-only."""

from threading import Thread
from time import monotonic

import pytest
from django.db import OperationalError

from orchestrator.decide.direct import admit_direct
from orchestrator.reconciler import claim as verb
from orchestrator.reconciler import loop
from signals import actors
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.patience import PATIENCE
from tests.kit.signals import NAMESPACE
from tests.kit.verbs import claim, execute
from tests.kit.world import World, deployment


def test_a_pass_that_fails_is_not_repeated_at_full_speed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    target = Target("default", NAMESPACE, "erp-simulator")
    waiting = admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("somebody"))
    execute(
        claim(waiting, "reconciler:another"), world.cluster, world.observe, "reconciler:another"
    )  # its verification is due, and no pass comes so far
    reconciler, passes = world.reconciler(), list[float]()

    def refuse(*_: object, **__: object) -> None:
        passes.append(monotonic())
        if len(passes) == 3:
            reconciler.stop()
        raise OperationalError("could not extend file: No space left on device")

    monkeypatch.setattr(loop, "POLL", 0.2)
    monkeypatch.setattr(verb, "claim_due", refuse)
    thread = Thread(target=reconciler.run)
    thread.start()
    thread.join(timeout=PATIENCE)

    assert passes[2] - passes[0] >= 2 * loop.POLL
