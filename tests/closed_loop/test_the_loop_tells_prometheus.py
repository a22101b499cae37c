"""What each process counts, and the levels that a reconciler reads from the tables."""

from collections.abc import Callable
from datetime import timedelta
from time import time

import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from prometheus_client import REGISTRY

from guardrails.models import Freeze
from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.models import Action, Workload
from orchestrator.process import gauges
from orchestrator.reconciler import admit
from orchestrator.reconciler.reclaim import reclaim
from signals import actors, transitions
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.patience import PATIENCE, eventually
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause
from tests.kit.verbs import claim
from tests.kit.world import World, deployment

LOOP, PRODUCT = "orchestrator_closed_loop", "smartops_orchestrator"


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def growth(name: str, **labels: str) -> Callable[[], float]:
    """By how much it has grown since now."""
    before = value(name, **labels) or 0.0
    return lambda: (value(name, **labels) or 0.0) - before


def direct(replicas: int, service: str = "erp-simulator") -> Proposal:
    target = Target("default", NAMESPACE, service)
    return Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": replicas})


def test_a_signal_that_becomes_a_verified_change_is_counted_at_each_step(world: World) -> None:
    world.deploy(deployment("erp-simulator", replicas=2))
    once = [
        growth(f"{LOOP}_observations_total", kind="anomaly", outcome="stored"),
        growth(f"{LOOP}_observations_total", kind="anomaly", outcome="duplicate"),
        growth(f"{LOOP}_signals_total", kind="anomaly"),
        growth(f"{PRODUCT}_guardrail_used_ratio_count", guardrail="actions_per_hour"),
        growth(f"{LOOP}_actions_total", type="scale", status="success"),
        growth(f"{LOOP}_duration_seconds_count", status="success"),
        growth(f"{LOOP}_action_duration_seconds_count", type="scale"),
        growth(f"{PRODUCT}_verification_duration_seconds_count", status="success"),
        growth("smartops_k8s_scale_total", result="success"),
    ]
    observation = anomaly("erp-simulator")

    post(observation)
    post(observation)
    world.drain()

    assert [grown() for grown in once] == [1.0] * len(once)


def test_a_rollout_that_never_ends_is_a_verification_that_failed(world: World) -> None:
    broken = deployment("erp-simulator", outcome="crash")
    broken["spec"]["progressDeadlineSeconds"] = 1
    world.deploy(broken)
    failed = [
        growth(f"{PRODUCT}_verification_duration_seconds_count", status="failed"),
        growth(f"{LOOP}_duration_seconds_count", status="failed"),
    ]

    post(root_cause("erp-simulator"))
    world.drain()

    assert [grown() for grown in failed] == [1.0, 1.0]


def test_direct_actions_are_counted_for_themselves(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    ended = growth(f"{PRODUCT}_direct_actions_total", type="scale", status="success")
    refused = growth(f"{PRODUCT}_direct_refusals_total", type="scale", reason=Reason.REPLICA_LIMIT)
    of_the_loop = growth(f"{LOOP}_actions_total", type="scale", status="success")

    admit_direct(direct(3), actors.token("somebody"))
    with pytest.raises(Refused):
        admit_direct(direct(99), actors.token("somebody"))
    world.drain()

    assert (ended(), refused(), of_the_loop()) == (1.0, 1.0, 0.0)


def test_the_levels_are_those_of_the_tables(transactional_db: None) -> None:
    Freeze.objects.create(reason="rest", by="user:somebody", cluster="another")
    Freeze.objects.create(reason="rest", by="user:somebody", until=Now() - timedelta(minutes=1))
    Freeze.objects.create(reason="rest", by="user:somebody", namespace="production")
    post(*(anomaly(name) for name in ("due", "held", "held-too", "elsewhere")))
    Signal.objects.filter(workload="due").update(not_before=Now() - timedelta(seconds=90))
    held = Signal.objects.filter(workload__startswith="held")
    held.update(not_before=Now() + timedelta(minutes=5), reason=Reason.COOLDOWN_ACTIVE)
    Signal.objects.filter(workload="elsewhere").update(cluster="another")
    admit_direct(direct(3), actors.token("somebody"))
    Action.objects.update(not_before=Now() - timedelta(seconds=40))

    gauges.measure("default")

    assert value(f"{LOOP}_queue_depth") == 3
    assert value(f"{LOOP}_queue_deferred", reason=Reason.COOLDOWN_ACTIVE) == 2
    assert 90 <= (value(f"{PRODUCT}_oldest_due_seconds", kind="signal") or 0) < 90 + PATIENCE
    assert 40 <= (value(f"{PRODUCT}_oldest_due_seconds", kind="action") or 0) < 40 + PATIENCE
    assert value(f"{PRODUCT}_actions", state="pending") == 1
    assert value(f"{PRODUCT}_actions", state="verifying") == 0
    assert value(f"{PRODUCT}_freezes") == 1


def test_gauges_go_down_again(transactional_db: None) -> None:
    post(anomaly("held"))
    Signal.objects.update(not_before=Now() + timedelta(minutes=5), reason=Reason.FROZEN)
    gauges.measure("default")
    transitions.store([transitions.deny(Signal.objects.get(), Reason.SIGNAL_EXPIRED, "")])

    gauges.measure("default")

    assert value(f"{LOOP}_queue_depth") == 0
    assert value(f"{LOOP}_queue_deferred", reason=Reason.FROZEN) is None
    assert value(f"{PRODUCT}_oldest_due_seconds", kind="signal") == 0


def test_a_pass_leaves_its_time_and_one_that_fails_does_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = growth(f"{PRODUCT}_failed_steps_total")
    began = time()
    world.drain()
    passed = value(f"{PRODUCT}_last_pass_timestamp_seconds") or 0.0
    assert began <= passed <= time()

    def refuse(*_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(admit, "due", refuse)
    reconciler = world.reconciler()
    reconciler.cache.start()
    eventually(lambda: reconciler.cache.has_synced)
    reconciler.steps.attempt(reconciler.run_once)
    reconciler.cache.stop()

    assert value(f"{PRODUCT}_last_pass_timestamp_seconds") == passed
    assert failed() == 1.0


def test_a_reclaimed_action_is_counted(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    action = admit_direct(direct(3), actors.token("somebody"))
    claim(action, "reconciler:silent")
    Action.objects.update(lease_until=Now() - timedelta(seconds=1))
    taken = growth(f"{PRODUCT}_takeovers_total")

    reclaim("default", "reconciler:another")

    assert taken() == 1.0
    assert Workload.objects.count() == 1
