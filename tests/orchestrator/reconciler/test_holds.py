"""A repeat of an ignored or refused signal is counted on it, until something that mattered has changed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from guardrails.models import Freeze, GuardrailSetting
from guardrails.types import PolicyAnswer
from orchestrator.k8s.target import TargetState
from orchestrator.models import DecisionRecord
from orchestrator.reconciler import admit
from orchestrator.reconciler.wake import end_holds
from signals.aliases import Alias
from signals.models import Observation, Problem, Rule, Signal, SignalState
from signals.types import Target
from tests.kit.signals import anomaly, post, root_cause, wait
from tests.kit.simulation import SimulatedCluster

pytestmark = pytest.mark.usefixtures("rules")
S = SignalState
ENGINE = "http://policy"


@pytest.fixture
def cluster() -> SimulatedCluster:
    return SimulatedCluster()


class Loop:
    """What a reconciler does with signals, in single steps."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster

    def observe(self, target: Target) -> TargetState:
        found = self.cluster.get_or_none(target)
        return TargetState(seen=True, object=found, missing=found is None)

    def decide(self, policy: PolicyAnswer | None = None) -> None:
        candidates, _ = admit.due("default", 9, (), self.observe)
        admit.admit([replace(one, policy=policy) for one in candidates], "reconciler:test")


@pytest.fixture
def loop(cluster: SimulatedCluster) -> Loop:
    return Loop(cluster)


def reason() -> str:
    return Signal.objects.latest("id").reason


def test_a_repeat_of_an_ignored_signal_is_counted_on_it(loop: Loop) -> None:
    [first] = post(anomaly("a", "other", score=0.4, payload={"first": 1}))
    loop.decide()
    [repeat] = post(anomaly("a", "other", score=0.6, payload={"last": 1}))
    post(anomaly("a", "other", firing=False), anomaly("a", "other", score=0.6, payload={"last": 2}))

    signal = Signal.objects.get()
    assert (repeat.signal_id, repeat.state, repeat.duplicate) == (first.signal_id, S.IGNORED, False)
    assert (signal.state, signal.count, signal.score, signal.payload) == (S.IGNORED, 3, 0.6, {"last": 2})
    assert signal.closed_at is not None
    assert signal.last_seen_at > signal.closed_at
    assert [one.payload for one in Observation.objects.all()] == [{"first": 1}]
    assert DecisionRecord.objects.count() == 1
    problem = Problem.objects.get()
    assert (problem.firing_count, problem.healthy_count, problem.signal_id) == (3, 1, signal.pk)


def nothing() -> None:
    pass


def save_a_rule() -> None:
    Rule.objects.filter(name="latency-scale-up").update(min_score=0.5)


CHANGES = {
    "nothing": (nothing, False),
    "an hour": (lambda: wait(3600), False),
    "a rule": (save_a_rule, True),
    "a rule that is added": (
        lambda: Rule.objects.create(name="x", source="rca", symptom="x", action_type="RESTART"),
        True,
    ),
    "a limit": (lambda: GuardrailSetting.objects.create(namespace="smartops-dev", max_replicas=3), True),
    "a freeze": (lambda: Freeze.objects.create(reason="x", by="user:ana"), True),
}


@pytest.mark.parametrize(("change", "opens"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("service", ["ignored", "missing"])
def test_a_change_of_settings_ends_every_hold(
    loop: Loop, service: str, change: Callable[[], object], opens: bool
) -> None:
    report = anomaly(service, "other" if service == "ignored" else "latency")
    [first] = post(report)
    loop.decide()
    change()
    [repeat] = post(anomaly(service, report.symptom))

    assert (repeat.signal_id != first.signal_id) is opens
    assert repeat.state == (S.PENDING if opens else Signal.objects.get(pk=first.signal_id).state)


@pytest.mark.parametrize(("score", "opens"), [(0.0, False), (0.79, False), (0.8, True), (1.0, True)])
def test_a_repeat_across_a_threshold_is_decided_on(loop: Loop, score: float, opens: bool) -> None:
    post(anomaly("a", "latency", score=0.5))
    loop.decide()
    assert reason() == "BelowThreshold"
    post(anomaly("a", "latency", score=score))

    assert Signal.objects.filter(state=S.PENDING).exists() is opens


def test_one_report_of_a_batch_across_a_threshold_is_enough(loop: Loop) -> None:
    post(root_cause("a", confidence=0.1))
    loop.decide()
    post(root_cause("a", confidence=0.9), root_cause("a", confidence=0.1))

    assert Signal.objects.filter(state=S.PENDING, count=2).exists()


def test_a_change_of_the_target_ends_the_hold_of_a_refusal(loop: Loop) -> None:
    full = loop.cluster.deploy("full", replicas=8)
    for name, symptom in (("full", "resource"), ("missing", "resource"), ("ignored", "other")):
        post(anomaly(name, symptom))
    for _ in range(2):
        loop.decide()
    assert set(Signal.objects.values_list("reason", flat=True)) == {"ReplicaLimit", "TargetNotFound", "NoRule"}

    end_holds("default", loop.observe)
    post(anomaly("full"), anomaly("missing"), anomaly("ignored", "other"))
    assert Signal.objects.count() == 3, "nothing has changed"

    loop.cluster.change(full, replicas=4)
    end_holds("default", loop.observe)
    post(anomaly("full"), anomaly("missing"), anomaly("ignored", "other"))
    assert Signal.objects.get(state=S.PENDING).workload == "full"

    loop.cluster.deploy("missing")
    end_holds("default", loop.observe)
    post(anomaly("missing"))
    assert set(Signal.objects.filter(state=S.PENDING).values_list("workload", flat=True)) == {"full", "missing"}


@pytest.mark.parametrize(
    ("service", "policy", "expected", "lasts"),
    [
        ("a", PolicyAnswer(False, "No.", ENGINE), "PolicyDenied", timedelta(minutes=5)),
        ("missing", None, "TargetNotFound", timedelta(minutes=15)),
        ("full", None, "ReplicaLimit", timedelta(days=1)),
    ],
)
def test_a_hold_ends_by_itself(
    loop: Loop, service: str, policy: PolicyAnswer | None, expected: str, lasts: timedelta
) -> None:
    loop.cluster.deploy("a")
    loop.cluster.deploy("full", replicas=8)
    post(anomaly(service))
    loop.decide(policy)
    signal = Signal.objects.get()
    holds = signal.holds or {}
    assert signal.reason == expected
    assert datetime.fromisoformat(holds["until"]) - DecisionRecord.objects.get().created_at == approx(lasts)
    post(anomaly(service))
    assert Signal.objects.count() == 1

    Signal.objects.update(holds={**holds, "until": (signal.first_seen_at - timedelta(seconds=1)).isoformat()})
    post(anomaly(service))
    assert Signal.objects.count() == 2


def test_a_change_while_the_cluster_and_the_policy_engine_are_queried_ends_the_hold(loop: Loop) -> None:
    post(anomaly("missing"))
    candidates, _ = admit.due("default", 9, (), loop.observe)  # reads the aliases, and observes the targets
    Alias.objects.create(pattern="missing", workload="a")
    admit.admit(candidates, "reconciler:test")
    assert reason() == "TargetNotFound"
    post(anomaly("missing"))

    assert Signal.objects.filter(state=S.PENDING).exists()


def approx(lasts: timedelta) -> object:
    return pytest.approx(lasts, abs=timedelta(seconds=30))


def test_only_the_latest_signal_of_a_problem_holds(loop: Loop) -> None:
    """The reconciler reads all holds of refusals again and again: there are not more than problems."""
    for score in (0.95, 0.5, 0.95, 0.5, 0.95):
        post(anomaly("missing", "latency", score=score))
        loop.decide()
    assert Signal.objects.filter(state=S.DENIED, holds__isnull=False).count() == 3

    end_holds("default", loop.observe)

    assert Signal.objects.filter(state=S.DENIED).exclude(holds=None).get() == Signal.objects.latest("id")
    post(anomaly("missing", "latency", score=0.95))
    assert Signal.objects.count() == 5, "the latest one still holds"


def test_a_signal_that_has_expired_holds_for_no_report(loop: Loop) -> None:
    loop.cluster.deploy("a")
    post(anomaly("a"))
    Signal.objects.update(last_seen_at=Now() - timedelta(hours=1))
    loop.decide()
    assert reason() == "SignalExpired"
    post(anomaly("a"))

    assert Signal.objects.count() == 2


@pytest.mark.parametrize(("score", "at_once"), [(0.83, False), (0.9, True), (0.7, True)])
def test_a_deferred_signal_is_due_at_once_when_its_strength_crosses_a_threshold(
    loop: Loop, score: float, at_once: bool
) -> None:
    Rule.objects.all().delete()
    for name, least in (("restart", 0.8), ("patch", 0.9)):
        conditions = {"source": "anomaly", "symptom": "latency", "min_score": least}
        Rule.objects.create(name=name, action_type="RESTART", priority=100 - int(100 * least), **conditions)
    Freeze.objects.create(reason="x", by="user:ana")
    loop.cluster.deploy("a")
    post(anomaly("a", "latency", score=0.85))
    loop.decide()
    assert reason() == "Frozen"

    post(anomaly("a", "latency", score=score))

    assert bool(admit.due("default", 9, (), loop.observe)[0]) is at_once
    loop.decide()
    assert DecisionRecord.objects.count() == 1 + at_once
    post(anomaly("a", "latency", score=score))
    assert not admit.due("default", 9, (), loop.observe)[0], "not again for the same strength"


def test_a_refusal_whose_time_is_over_is_released(loop: Loop) -> None:
    post(anomaly("missing"))
    loop.decide()
    held = Signal.objects.get().holds
    assert held is not None

    Signal.objects.update(holds={**held, "until": datetime.now(UTC).isoformat()})
    end_holds("default", loop.observe)

    assert Signal.objects.get().holds is None


def test_a_hold_that_cannot_be_read_ends_and_keeps_no_other(loop: Loop) -> None:
    post(anomaly("missing", "latency"), anomaly("gone", "latency"))
    loop.decide()
    Signal.objects.filter(workload="missing").update(holds={"target": [], "until": "no time"})

    end_holds("default", lambda _: TargetState(seen=True, missing=True))

    assert Signal.objects.get(workload="missing").holds is None
