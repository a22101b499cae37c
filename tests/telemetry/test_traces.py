"""One signal is one story across two processes: a real web process, a real reconciler, a real receiver."""

import re
import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.kit.installation import Agent, installed
from tests.kit.signals import NAMESPACE, anomaly_body
from tests.kit.world import World, deployment
from tests.telemetry.collector import Collector, Told


def only(spans: Iterable[Told], name: str) -> Told:
    (found,) = [one for one in spans if one.name == name]
    return found


def number_of(name: str, spans: Iterable[Told]) -> int:
    return sum(one.name == name for one in spans)


def test_one_signal_is_one_trace_from_the_agent_to_the_verified_change(
    world: World, collector: Collector, log: Path
) -> None:
    world.deploy(deployment("erp-simulator", ready_after="0"))
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    world.settle("erp-simulator")
    with installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=1) as installation:
        agent = Agent(installation.address)
        anomaly = anomaly_body(NAMESPACE, "erp-simulator")
        sent = agent.post("/v1/signals/anomaly", anomaly, traceparent=f"00-{trace}-{span}-01")
        collector.until(lambda spans: number_of("verify", spans) == 1)
        _, metrics = agent.call("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")

    spans = collector.spans  # of both processes, which have ended
    assert re.search(f'_bucket{{.*v1/signals/anomaly.* # {{trace_id="{trace}"}}', metrics)
    assert {one.trace for one in spans} == {trace}
    assert {(one.name, one.kind, one.role) for one in spans} == {
        ("POST v1/signals/anomaly", "SERVER", "web"),
        ("admit", "INTERNAL", "reconciler"),
        ("execute", "INTERNAL", "reconciler"),
        ("patch deployments", "CLIENT", "reconciler"),
        ("verify", "INTERNAL", "reconciler"),
    }
    request, admit, execute = (only(spans, name) for name in ("POST v1/signals/anomaly", "admit", "execute"))
    patch, verify = (only(spans, name) for name in ("patch deployments", "verify"))
    parents = [one.parent for one in (request, admit, execute, patch, verify)]
    assert parents == [span, request.id, admit.id, execute.id, admit.id]
    assert not any(one.failed for one in spans)

    assert {one.attributes["smartops.signal.id"] for one in (request, admit, execute, verify)} == {sent.body["id"]}
    assert execute.attributes["smartops.action.id"] == verify.attributes["smartops.action.id"]
    assert (
        request.attributes.items()
        >= {
            "http.request.method": "POST",
            "http.route": "v1/signals/anomaly",
            "http.response.status_code": 202,
            "url.path": "/v1/signals/anomaly",
        }.items()
    )
    assert "http.method" not in request.attributes
    assert (
        patch.attributes.items()
        >= {
            "http.request.method": "PATCH",
            "http.response.status_code": 200,
            "server.address": "127.0.0.1",
            "k8s.namespace.name": NAMESPACE,
            "k8s.deployment.name": "erp-simulator",
        }.items()
    )
    assert {one.resource["service.name"] for one in spans} == {"smartops-orchestrator"}
    assert request.resource["service.instance.id"] != admit.resource["service.instance.id"]


def test_a_direct_action_is_one_trace_too(world: World, collector: Collector, log: Path) -> None:
    world.deploy(deployment("erp-simulator", ready_after="0"))
    with installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=1) as installation:
        asked = {"deployment": "erp-simulator", "replicas": 3, "namespace": NAMESPACE}
        agent = Agent(installation.address)
        answer = agent.post("/v1/k8s/scale", asked)
        spans = collector.until(lambda spans: {"verify", "POST v1/k8s/scale"} <= {one.name for one in spans})
        collector.spans.clear()
        agent.post("/v1/k8s/scale", asked | {"deployment": "nowhere"})
        refused = collector.until(lambda spans: {"execute", "POST v1/k8s/scale"} <= {one.name for one in spans})

    assert answer.body["success"]
    request, admit, execute, verify = (
        only(spans, name) for name in ("POST v1/k8s/scale", "admit", "execute", "verify")
    )
    assert len({one.trace for one in spans}) == 1
    assert [one.parent for one in (request, admit, execute, verify)] == ["", request.id, admit.id, admit.id]
    assert [one.role for one in (request, admit, execute, verify)] == ["web", "web", "reconciler", "reconciler"]

    get = only(refused, "get deployments")
    assert get.failed
    assert (get.attributes["http.response.status_code"], get.attributes["error.type"]) == (404, "NotFound")


def test_each_signal_of_a_batch_has_a_trace_of_its_own_linked_to_the_request(
    world: World, collector: Collector, log: Path
) -> None:
    world.deploy(deployment("erp-simulator", ready_after="0"), deployment("web", ready_after="0"))
    world.settle("erp-simulator")
    world.settle("web")
    with installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=1) as installation:
        agent = Agent(installation.address)
        batch = {
            "signals": [
                anomaly_body(NAMESPACE, "erp-simulator"),
                anomaly_body(NAMESPACE, "web"),
                anomaly_body(NAMESPACE, "web"),
            ]
        }
        answer = agent.post("/v1/signals/batch", batch)
        collector.until(lambda spans: number_of("verify", spans) == 2)

    spans = collector.spans
    request = only(spans, "POST v1/signals/batch")
    begun = [one for one in spans if one.name == "signal"]
    assert {one.attributes["smartops.signal.id"] for one in begun} == {item["id"] for item in answer.body["items"]}
    assert [(one.parent, one.links) for one in begun] == [("", ((request.trace, request.id),))] * 2
    for one in begun:
        story = [span for span in spans if span.trace == one.trace]
        assert sorted(span.name for span in story) == [
            "admit", "execute", "patch deployments", "signal", "verify",
        ]  # fmt: skip
        assert only(story, "admit").parent == one.id


def test_machines_that_ask_all_day_are_not_traced_and_operators_name_and_sample_the_rest(
    world: World, collector: Collector, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=ours,deployment.environment.name=test")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    sampled = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
    with installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=0) as installation:
        agent = Agent(installation.address)
        # By the address of the pod, which is none of ALLOWED_HOSTS.
        probes = [agent.call("GET", one, Host="10.0.0.7", **sampled) for one in ("/healthz", "/readyz", "/metrics")]
        agent.call("GET", "/v1/actions")
        agent.call("GET", "/v1/signals", **sampled)

    spans = collector.spans
    assert [status for status, _ in probes] == [200, 200, 200]
    assert [one.name for one in spans] == ["GET v1/signals"]
    assert spans[0].resource["service.name"] == "ours"
    assert spans[0].resource["deployment.environment.name"] == "test"
