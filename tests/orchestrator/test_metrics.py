"""The metric names and labels are a contract: dashboards and alerts are written against them."""

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from guardrails.checks.replicas import max_replicas
from guardrails.checks.windows import actions_per_hour, cooldown, scale_velocity
from guardrails.evaluate import Guardrail
from guardrails.policies import opa
from guardrails.types import Limits
from orchestrator import metrics
from orchestrator.k8s import metrics as k8s_metrics
from orchestrator.process import gauges
from signals.types import Proposal
from tests.kit.decisions import NOW, RESTART, known, scale, scaled

CONTRACT = {
    "smartops_k8s_api_calls_total": "counter",
    "smartops_k8s_api_errors_total": "counter",
    "smartops_k8s_api_latency_seconds": "histogram",
    "smartops_k8s_scale_total": "counter",
    "smartops_k8s_restart_total": "counter",
    "smartops_k8s_patch_total": "counter",
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
MODULES = (metrics, k8s_metrics, opa, gauges)
COLLECTORS = [one for module in MODULES for one in vars(module).values() if isinstance(one, MetricWrapperBase)]
REPLICAS = (k8s_metrics.DESIRED_REPLICAS, k8s_metrics.READY_REPLICAS)


def exposed() -> dict[str, str]:
    families = [family for one in COLLECTORS for family in one.describe()]
    families += [family for one in REPLICAS for family in one.describe()]
    return {family.name + "_total" * (family.type == "counter"): family.type for family in families}


def test_each_metric_of_the_contract_is_exposed_under_its_name() -> None:
    assert exposed().items() >= CONTRACT.items()


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda one: one._name)
def test_only_the_replica_gauges_name_their_target(collector: MetricWrapperBase) -> None:
    assert not {"namespace", "deployment"} & set(collector._labelnames)


@pytest.mark.parametrize(
    ("guardrail", "proposal", "ratio"),
    [
        (max_replicas, scale(delta=1), 0.25),  # has 2 of 8, whatever it asks for
        (max_replicas, RESTART, 0.25),
        (actions_per_hour, scale(delta=1), 0.5),  # 3 of 6
        (actions_per_hour, RESTART, 0.0),
        (scale_velocity, scale(delta=1), 1.0),  # 3 of 3
    ],
)
def test_how_much_of_a_limit_is_used_is_told_as_a_share(guardrail: Guardrail, proposal: Proposal, ratio: float) -> None:
    verdict = guardrail(proposal, known(recent=scaled(1, 2, 3)), Limits(), NOW)
    before = used(verdict.guardrail)

    metrics.record_use([verdict])

    assert used(verdict.guardrail) == [before[0] + 1, before[1] + ratio]


def test_a_limit_of_none_and_a_guardrail_without_a_limit_have_no_share() -> None:
    verdicts = [
        max_replicas(scale(delta=1), known(target=None), Limits(), NOW),
        actions_per_hour(RESTART, known(), Limits(max_actions_per_hour=0), NOW),
        cooldown(RESTART, known(), Limits(), NOW),
    ]
    before = [used(verdict.guardrail) for verdict in verdicts]

    metrics.record_use(verdicts)

    assert [used(verdict.guardrail) for verdict in verdicts] == before


def used(guardrail: str) -> list[float]:
    """How many shares were told, and their sum."""
    name, labels = "smartops_orchestrator_guardrail_used_ratio", {"guardrail": guardrail}
    return [REGISTRY.get_sample_value(f"{name}_{what}", labels) or 0.0 for what in ("count", "sum")]
