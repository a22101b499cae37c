"""From a bucket of a histogram to a trace that fell into it."""

import secrets
import socket

import pytest
import urllib3
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from orchestrator.process.health_server import serve
from signals.lib import tracing
from tests.kit.api import Api
from tests.kit.patience import PATIENCE
from tests.kit.signals import anomaly, post
from tests.kit.world import World, deployment
from tests.orchestrator.process.test_health_server import Loop, Permissions

ACCEPT = {"Accept": "application/openmetrics-text; version=1.0.0"}
OF_THE_LOOP = {
    "orchestrator_closed_loop_duration_seconds",
    "orchestrator_closed_loop_action_duration_seconds",
    "smartops_orchestrator_verification_duration_seconds",
    "smartops_k8s_api_latency_seconds",
}


def by_the_web_process() -> str:
    answer = Api().call("GET", "/metrics", headers=ACCEPT)
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    return str(answer.content.decode())


def by_the_reconciler() -> str:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serve(Loop(), Permissions(), listener)
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", headers=ACCEPT, timeout=PATIENCE, retries=False)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    return answer.data.decode()


@pytest.mark.parametrize("sampled", [True, False], ids=["sampled", "not sampled"])
def test_the_latencies_of_a_signal_have_its_trace_as_exemplar(world: World, sampled: bool) -> None:
    trace = secrets.randbits(128)
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    request = NonRecordingSpan(SpanContext(trace, 1, is_remote=True, trace_flags=flags))
    world.deploy(deployment("erp-simulator", ready_after="0"))
    with tracing.within(request):
        post(anomaly("erp-simulator"))

    world.drain()

    for text in (by_the_web_process(), by_the_reconciler()):
        families = text_string_to_metric_families(text)
        samples = [(family.name, one.exemplar) for family in families for one in family.samples]
        named = {name for name, exemplar in samples if exemplar and exemplar.labels["trace_id"] == f"{trace:032x}"}
        assert named == (OF_THE_LOOP if sampled else set())
