"""StatefulSets and DaemonSets pass the closed loop as Deployments do, and one name may be that of several kinds."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from guardrails.models import Cooldown, Freeze
from orchestrator.models import Action, ActionState, Workload
from signals.models import Rule, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from tests.kit.api import bearer
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause
from tests.kit.world import World, of_kind, only_action, only_signal

ASYNC = {"prefer": "respond-async"}
NAME = "erp-simulator"
RESOURCES = {Kind.DEPLOYMENT: "deployments", Kind.STATEFUL_SET: "statefulsets", Kind.DAEMON_SET: "daemonsets"}
OTHERS = (Kind.STATEFUL_SET, Kind.DAEMON_SET)


def target(kind: Kind) -> Target:
    return Target("default", NAMESPACE, NAME, kind)


def written(world: World) -> list[str]:
    """The resource of each PATCH that the cluster accepted."""
    return [urlsplit(one.path).path.split("/")[-2] for one in world.writes()]


@pytest.mark.parametrize("kind", Kind)
def test_a_root_cause_restarts_the_workload_of_its_kind_alone(world: World, kind: Kind) -> None:
    world.deploy(*(of_kind(one, NAME) for one in Kind))
    post(root_cause("", target=target(kind)))

    world.drain()

    action = only_action()
    assert (action.workload.target, action.type) == (target(kind), "RESTART")
    assert (action.state, action.reason) == (ActionState.SUCCEEDED, Reason.ROLLOUT_COMPLETE), action.message
    assert written(world) == [RESOURCES[kind]]
    assert only_signal().closed_at is not None
    [event] = [json.loads(one.body) for one in world.sandbox.requests if one.method == "POST" and "/events" in one.path]
    assert (event["reason"], event["involvedObject"]["kind"]) == ("Restarted", kind)


def test_a_resource_anomaly_adds_a_replica_to_a_stateful_set(world: World) -> None:
    world.deploy(*(of_kind(one, NAME, replicas=2) for one in (Kind.DEPLOYMENT, Kind.STATEFUL_SET)))
    post(anomaly("", target=target(Kind.STATEFUL_SET)))

    world.drain()

    assert (only_action().state, world.replicas(NAME, Kind.STATEFUL_SET), world.replicas(NAME)) == ("succeeded", 3, 2)
    assert Cooldown.objects.values_list("kind", "action_type").get() == ("StatefulSet", "SCALE")


def test_a_resource_anomaly_of_a_daemon_set_is_denied_and_says_why(world: World) -> None:
    world.deploy(of_kind(Kind.DAEMON_SET, NAME))
    post(anomaly("", target=target(Kind.DAEMON_SET)))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.UNSUPPORTED_BY_KIND)
    assert "a DaemonSet has no spec.replicas" in only_signal().message
    assert world.writes() == []


def test_a_missing_stateful_set_is_named_although_a_deployment_has_its_name(world: World) -> None:
    world.deploy(of_kind(Kind.DEPLOYMENT, NAME))
    post(root_cause("", target=target(Kind.STATEFUL_SET)))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.TARGET_NOT_FOUND)
    assert only_signal().message == (
        f"There is no StatefulSet {NAMESPACE}/{NAME}. There is a Deployment of this name: name the kind in the request."
    )


def test_a_freeze_of_one_kind_defers_the_signals_of_this_kind_alone(world: World) -> None:
    Freeze.objects.create(kind="StatefulSet", reason="storage migration", by="user:ops")
    world.deploy(of_kind(Kind.DEPLOYMENT, NAME), of_kind(Kind.STATEFUL_SET, NAME))
    post(*(root_cause("", target=target(one)) for one in (Kind.DEPLOYMENT, Kind.STATEFUL_SET)))

    world.drain()

    assert dict(Signal.objects.values_list("kind", "reason")) == {"Deployment": "", "StatefulSet": Reason.FROZEN}
    assert written(world) == ["deployments"]


def test_a_rule_of_one_kind_makes_no_proposal_for_another(world: World) -> None:
    Rule.objects.update(kind="DaemonSet")
    world.deploy(*(of_kind(one, NAME) for one in OTHERS))
    post(*(root_cause("", target=target(one)) for one in OTHERS))

    world.drain()

    assert dict(Signal.objects.values_list("kind", "state")) == {"StatefulSet": "ignored", "DaemonSet": "admitted"}
    assert written(world) == ["daemonsets"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("k8s/scale", {"deployment": NAME, "kind": "StatefulSet", "replicas": 1}),
        ("k8s/patch", {"deployment": NAME, "kind": "StatefulSet", "patch": {"metadata": {"annotations": {"a": "b"}}}}),
        ("actions/execute", {"type": "RESTART", "target": {"kind": "StatefulSet", "name": NAME}}),
    ],
)
def test_a_direct_request_changes_the_kind_that_it_names(world: World, path: str, body: dict[str, Any]) -> None:
    world.deploy(of_kind(Kind.DEPLOYMENT, NAME), of_kind(Kind.STATEFUL_SET, NAME))
    assert bearer("agent").post(f"/v1/{path}", body, **ASYNC).status_code == 202

    world.drain()

    assert (only_action().state, written(world)) == (ActionState.SUCCEEDED, ["statefulsets"]), only_action().message
    assert Workload.objects.get().target == target(Kind.STATEFUL_SET)
    assert Action.objects.count() == 1
