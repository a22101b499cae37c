"""The metric names are a contract: dashboards and alerts are written against them."""

import re

import pytest
from prometheus_client import generate_latest

from guardrails import policy_client  # noqa: F401 - it registers its metrics
from orchestrator import metrics  # noqa: F401
from orchestrator.k8s import metrics as k8s_metrics  # noqa: F401

TYPES = {
    "smartops_k8s_api_calls_total": "counter",
    "smartops_k8s_api_errors_total": "counter",
    "smartops_k8s_api_latency_seconds": "histogram",
    "smartops_k8s_scale_total": "counter",
    "smartops_k8s_restart_total": "counter",
    "smartops_k8s_patch_total": "counter",
    "smartops_k8s_events_dropped_total": "counter",
    "smartops_k8s_deployment_desired_replicas": "gauge",
    "smartops_k8s_deployment_ready_replicas": "gauge",
    "orchestrator_closed_loop_signals_total": "counter",
    "orchestrator_closed_loop_actions_total": "counter",
    "orchestrator_closed_loop_retries_total": "counter",
    "orchestrator_closed_loop_duration_seconds": "histogram",
    "orchestrator_closed_loop_action_duration_seconds": "histogram",
    "orchestrator_closed_loop_queue_depth": "gauge",
    "orchestrator_closed_loop_guardrail_blocks_total": "counter",
    "smartops_orchestrator_policy_denials_total": "counter",
}


@pytest.fixture(scope="module")
def exposed() -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", generate_latest().decode(), re.MULTILINE))


@pytest.mark.parametrize(("name", "type_"), TYPES.items())
def test_each_metric_of_the_contract_is_exposed_under_its_name(exposed: dict[str, str], name: str, type_: str) -> None:
    assert exposed.get(name) == type_


def test_no_other_metric_claims_the_products_prefix(exposed: dict[str, str]) -> None:
    ours = {
        name for name in exposed if name.startswith(("smartops_", "orchestrator_")) and not name.endswith("_created")
    }
    assert ours == TYPES.keys()
