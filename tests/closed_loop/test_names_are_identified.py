"""A detector calls its target as it likes: by a pod, a Service, a container, or a name that only operators know."""

from typing import Any

import pytest
from django.db.models.functions import Now

from guardrails.replay import replay
from orchestrator.models import Action, ActionState, DecisionRecord
from orchestrator.reconciler.wake import wake_unidentified
from signals.aliases import Alias
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.sources.anomaly import AnomalySignal
from signals.types import Kind, Target
from tests.kit.manifests import Object
from tests.kit.signals import ANOMALY, NAMESPACE, anomaly, post, root_cause, wait
from tests.kit.world import World, deployment, only_action, only_signal

HERE = Target("default", NAMESPACE, "")
SERVICE: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": NAMESPACE},
    "spec": {"selector": {"app": "checkout"}, "ports": [{"port": 80}]},
}


def report(labels: dict[str, str] | None = None, **fields: Any) -> None:
    body = {name: value for name, value in ANOMALY.items() if name != "service"}
    post(AnomalySignal.model_validate(body | ({"labels": labels} if labels else {}) | fields).observation(HERE))


def last_verdict(name: str) -> Any:
    record = DecisionRecord.objects.order_by("-id").first()
    assert record is not None
    assert replay(record.inputs) == record.verdicts
    return next(one for one in record.verdicts if one["guardrail"] == name)


def test_a_pod_a_service_a_container_and_a_name_lead_to_the_same_workload(world: World) -> None:
    world.deploy(deployment("checkout"), SERVICE)
    [pod, *_] = [one for one in world.cluster.list_pods(NAMESPACE) if one.name.startswith("checkout-")]
    report({"pod": pod.name})
    report({"service": "shop"}, type="latency")
    report({"pod": "checkout-7d9f8b6c5d-x2x4z"}, type="error")
    post(root_cause("shop"))
    post(root_cause("app", "deadlock", named_by="container"))

    world.drain()

    signals = Signal.objects.all()
    assert {signal.target for signal in signals} == {Target("default", NAMESPACE, "checkout")}
    assert len({signal.fingerprint for signal in signals}) == 5
    assert {action.workload.name for action in Action.objects.select_related("workload")} == {"checkout"}
    assert len(world.writes()) == 2, "one SCALE and one RESTART: the others wait for the cooldown of the one workload"
    for record in DecisionRecord.objects.all():
        assert replay(record.inputs) == record.verdicts


def test_the_decision_records_how_the_target_was_identified(world: World) -> None:
    world.deploy(deployment("checkout"))
    [pod, *_] = world.cluster.list_pods(NAMESPACE)
    report({"pod": pod.name})

    world.drain()

    assert only_action().state == ActionState.SUCCEEDED
    verdict = last_verdict("identification")
    assert verdict["outcome"] == "allow"
    assert verdict["details"] == {
        "named": f"pod “{pod.name}”", "how": "owner", "target": f"Deployment {NAMESPACE}/checkout"
    }  # fmt: skip
    assert verdict["message"].startswith(f"Pod {pod.name} → ReplicaSet checkout-")


def test_a_name_that_nobody_knows_waits_for_its_alias(world: World) -> None:
    world.deploy(deployment("tomcat"), deployment("web"))
    report(service="Tomcat01")
    report(service="Tomcat01", windowId="another")

    world.drain()

    signal = only_signal()
    assert (signal.state, signal.reason, signal.count) == (SignalState.PENDING, Reason.TARGET_UNIDENTIFIED, 2)
    assert signal.nearest == ["tomcat"]
    assert "known by the name “Tomcat01”. Similar names: tomcat." in signal.message
    assert last_verdict("identification")["outcome"] == "defer"
    fingerprint = signal.fingerprint

    Alias.objects.create(pattern="Tomcat[0-9]+", workload="tomcat")
    world.drain()

    signal = only_signal()
    assert (signal.workload, signal.fingerprint, signal.nearest) == ("tomcat", fingerprint, [])
    assert only_action().workload.target == Target("default", NAMESPACE, "tomcat")
    assert last_verdict("identification")["details"]["how"] == "alias"
    report(service="Tomcat01", windowId="a third")
    assert {one.fingerprint for one in Signal.objects.all()} == {fingerprint}, "it stays the same problem"


def test_an_unidentified_signal_is_due_when_a_workload_appears(world: World) -> None:
    world.deploy(deployment("web"))
    report({"pod": "late-7d9f8b6c5d-x2x4z"})
    world.drain()
    assert only_signal().reason == Reason.TARGET_UNIDENTIFIED

    world.deploy(deployment("late"))
    world.drain()

    assert only_action().workload.name == "late"
    wake_unidentified("default")


def test_an_alias_redirects_a_valid_name_only_where_no_workload_has_it(world: World) -> None:
    world.deploy(deployment("web"), deployment("tomcat"))
    Alias.objects.create(pattern="web|tomcat01", workload="tomcat")
    report(service="web")
    report(service="tomcat01", type="error")

    world.drain()

    assert {action.workload.name for action in Action.objects.select_related("workload")} == {"web", "tomcat"}


def test_an_unidentified_signal_expires_with_a_decision(world: World) -> None:
    world.deploy(deployment("web"))
    report(service="db_003")
    world.drain()
    wait(1000)
    Signal.objects.update(not_before=Now())

    world.drain()

    signal = only_signal()
    assert (signal.state, signal.reason) == (SignalState.DENIED, Reason.SIGNAL_EXPIRED)
    assert [record.outcome for record in DecisionRecord.objects.order_by("id")] == ["defer", "deny"]
    assert last_verdict("identification")["outcome"] == "defer"


def test_unidentified_signals_of_one_token_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardrails.checks.identification.MAX_UNIDENTIFIED", 2)
    world.deploy(deployment("web"))
    post(*(anomaly(f"Host_{number}") for number in range(4)))

    world.drain()

    reasons = sorted(Signal.objects.values_list("reason", flat=True))
    assert reasons == [Reason.TARGET_UNIDENTIFIED] * 2 + [Reason.TOO_MANY_UNIDENTIFIED] * 2


def test_a_stateful_set_is_found_by_its_name_and_by_its_pods(world: World) -> None:
    stateful = deployment("db")
    stateful |= {"kind": "StatefulSet"}
    stateful["spec"] |= {"serviceName": "db"}
    stateful["spec"].pop("strategy", None)
    world.deploy(stateful)
    report({"pod": "db-0"})

    world.drain()

    assert only_signal().target == Target("default", NAMESPACE, "db", Kind.STATEFUL_SET)
