"""Limits hold at every instant, however many reconcilers and callers there are. The referee is the cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from guardrails.replay import replay
from orchestrator.decide.direct import Refused, admit_direct
from orchestrator.models import ACTIVE, Action, DecisionRecord
from signals import actors
from signals.lib.notifications import CHANNEL, connect
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.processes import reconcilers, until
from tests.kit.referee import Effect, Referee
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause
from tests.kit.threads import at_once
from tests.kit.world import World, deployment

WORKLOADS = ("erp-a", "erp-b")


@dataclass(frozen=True)
class Allowed:
    max_replicas: int
    max_actions_per_hour: int
    max_scale_increase: int
    cooldown_seconds: int


@pytest.mark.parametrize(
    ("allowed", "met"),
    [
        (Allowed(4, 2, 1, 0), {Reason.RATE_LIMIT, Reason.SCALE_VELOCITY_LIMIT, Reason.TARGET_BUSY}),
        (Allowed(6, 50, 9, 2), {Reason.COOLDOWN_ACTIVE, Reason.REPLICA_LIMIT, Reason.TARGET_BUSY}),
    ],
    ids=["windows", "cooldown"],
)
def test_no_limit_is_exceeded_by_processes_and_callers_at_once(
    world: World, tmp_path: Path, allowed: Allowed, met: set[Reason]
) -> None:
    GuardrailSetting.objects.update(**vars(allowed))
    world.deploy(*(deployment(name, replicas=1, ready_after="0") for name in WORKLOADS))
    referee = Referee(world.sandbox)

    with reconcilers(3, world.sandbox.kubeconfig, tmp_path / "log"):
        agents: list[Callable[[], object]] = [partial(report, seed) for seed in range(3)]
        people: list[Callable[[], object]] = [partial(ask, seed) for seed in range(2)]
        at_once([*agents, *people], timeout=240)
        until(nothing_is_left_to_do, timeout=240)

    assert_kept(referee, allowed)
    assert_one_effect_per_applied_action(referee, world)
    assert_one_active_action_at_a_time()
    assert not Signal.objects.filter(errors__gt=0).exists()
    assert met <= {verdict["reason"] for row in DecisionRecord.objects.all() for verdict in row.verdicts}
    for decision in DecisionRecord.objects.all():
        assert replay(decision.inputs) == decision.verdicts


def report(seed: int) -> None:
    """An agent that sees trouble come and go."""
    random = Random(seed)  # noqa: S311
    with connect() as session:
        session.execute(f"LISTEN {CHANNEL}")
        for _ in range(40):
            name = random.choice(WORKLOADS)
            trouble = random.choice([anomaly(name), anomaly(name, "latency"), anomaly(name, "error"), root_cause(name)])
            post(trouble)
            for _ in session.notifies(timeout=0.1, stop_after=3):  # in step with what happens
                pass


def ask(seed: int) -> None:
    """Somebody who scales and restarts by hand, whenever nothing else is going on."""
    random = Random(seed)  # noqa: S311
    for _ in range(40):
        target = Target("default", NAMESPACE, random.choice(WORKLOADS))
        type_ = random.choice([ActionType.SCALE, ActionType.RESTART])
        params = {"replicas": random.randint(1, 8)} if type_ is ActionType.SCALE else {}
        try:
            admit_direct(Proposal(type_, target, Origin.DIRECT, params), requested_by=actors.token("ana"))
        except Refused as refusal:
            assert refusal.decision.reason in (Reason.TARGET_BUSY, Reason.REPLICA_LIMIT)  # noqa: PT017
        with connect() as session:
            session.execute(f"LISTEN {CHANNEL}")
            for _ in session.notifies(timeout=0.2, stop_after=5):
                pass


def nothing_is_left_to_do() -> bool:
    due = Signal.objects.filter(state=SignalState.PENDING, not_before__lte=Now())
    return not due.exists() and not Action.objects.filter(state__in=ACTIVE).exists()


def assert_kept(referee: Referee, allowed: Allowed) -> None:
    actions = {str(action.pk): action for action in Action.objects.all()}

    def same_type(one: Effect, other: Effect) -> bool:
        return actions[one.action].type == actions[other.action].type

    assert max(referee.most.values()) <= allowed.max_replicas
    for index, effect in enumerate(referee.effects):
        if actions[effect.action].origin == Origin.DIRECT:
            continue  # counted, not held back
        earlier = [other for other in referee.effects[:index] if other.workload == effect.workload]
        alike = [other for other in earlier if same_type(other, effect)]
        assert len([o for o in alike if effect.at - o.at < 3600]) < allowed.max_actions_per_hour
        assert all(effect.at - other.at >= allowed.cooldown_seconds for other in alike)
        if (added := effect.replicas - effect.before) > 0:
            recent = [max(0, o.replicas - o.before) for o in earlier if effect.at - o.at < 900]
            assert sum(recent) + added <= allowed.max_scale_increase


def assert_one_effect_per_applied_action(referee: Referee, world: World) -> None:
    patches = b"\n".join(request.body for request in world.writes())
    for action in Action.objects.all():
        times = 1 if action.applied_at else 0
        assert len(referee.of(action.pk)) == times
        assert patches.count(f'"smartops.io/action": "{action.pk}"'.encode()) == times
    assert len(referee.effects) == len(world.writes())


def assert_one_active_action_at_a_time() -> None:
    for name in WORKLOADS:
        lives = list(Action.objects.filter(workload__name=name).order_by("created_at"))
        assert len(lives) > 2
        for one, following in pairwise(lives):
            assert one.finished_at is not None
            assert one.finished_at <= following.created_at
