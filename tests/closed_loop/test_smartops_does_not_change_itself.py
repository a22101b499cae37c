"""SmartOps' own workloads are changed neither by a signal nor by a token, unless they are allowed by name."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from orchestrator.models import Action, ActionState
from signals.models import SignalState
from signals.reasons import Reason
from tests.kit.api import Api, bearer
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.world import World, deployment, only_signal

RECONCILER = "smartops-orchestrator-reconciler"
ASYNC = {"prefer": "respond-async"}


@pytest.fixture
def agent(transactional_db: None) -> Api:
    return bearer("agent")


def labelled(name: str) -> Any:
    manifest = deployment(name)
    manifest["metadata"]["labels"] = {"app.kubernetes.io/part-of": "smartops"}
    return manifest


@pytest.mark.parametrize("manifest", [deployment(RECONCILER), labelled("policy-engine")])
def test_a_signal_about_an_own_workload_is_denied(world: World, manifest: Any) -> None:
    name = manifest["metadata"]["name"]
    world.deploy(manifest)
    post(anomaly(name, "error"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.OWN_WORKLOAD)
    assert world.writes() == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("k8s/scale", {"replicas": 0}),
        ("k8s/restart", {}),
        ("k8s/restart", {"dry_run": True}),
        ("k8s/patch", {"patch": {"spec": {"paused": True}}}),
    ],
)
def test_a_token_is_refused_at_once_by_the_name(db: None, path: str, more: Any) -> None:
    answer = bearer("agent").post(f"/v1/{path}", {"deployment": RECONCILER, **more}, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (409, Reason.OWN_WORKLOAD)
    assert answer.json()["details"] == {"recognized_by": "its name"}


def test_a_token_is_refused_by_the_label_before_the_write(world: World, agent: Api) -> None:
    world.deploy(labelled("policy-engine"))
    accepted = agent.post("/v1/k8s/scale", {"deployment": "policy-engine", "replicas": 0}, **ASYNC)

    world.drain()

    assert accepted.status_code == 202
    assert Action.objects.values_list("state", "reason").get() == (ActionState.CANCELLED, Reason.OWN_WORKLOAD)
    assert world.writes() == []


def test_an_own_workload_is_changed_if_it_is_allowed_by_name(world: World, agent: Api, settings: Settings) -> None:
    settings.SMARTOPS_ALLOWED_OWN_WORKLOADS = [f"{NAMESPACE}/{RECONCILER}"]
    world.deploy(deployment(RECONCILER), deployment("smartops-orchestrator-web"))

    accepted = agent.post("/v1/k8s/scale", {"deployment": RECONCILER, "replicas": 3}, **ASYNC)
    refused = agent.post("/v1/k8s/scale", {"deployment": "smartops-orchestrator-web", "replicas": 3}, **ASYNC)
    world.drain()

    assert (accepted.status_code, refused.status_code) == (202, 409)
    assert world.replicas(RECONCILER) == 3
