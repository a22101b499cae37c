"""The closed loop waits for rollouts, and leaves parked workloads alone."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from guardrails.replay import replay
from guardrails.types import RolloutState
from orchestrator.decide.direct import admit_direct
from orchestrator.k8s.revision import rollout_state
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, DecisionRecord
from signals import actors
from signals.models import Rule, Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.client import Client
from tests.kit.manifests import Object
from tests.kit.processes import until
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.world import World, deployment, only_action, only_signal

SLOW = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}
NEVER = "24h"


@pytest.fixture(autouse=True)
def every_decision_can_be_made_again(world: World) -> Iterator[None]:
    yield
    for decision in DecisionRecord.objects.all():
        assert replay(decision.inputs) == decision.verdicts


@pytest.fixture
def somebody(world: World) -> Iterator[Client]:
    client = Client(world.sandbox.kubeconfig, NAMESPACE)
    yield client
    client.close()


def slow(ready_after: str) -> Object:
    made = deployment("erp-simulator", 3, ready_after=ready_after)
    made["spec"] |= SLOW
    return made


def until_started(world: World, holds: Callable[[], bool]) -> None:
    """Pods that are never ready by themselves are ready from now on."""

    def start_and_look() -> bool:
        world.start_pods()
        return holds()

    until(start_and_look)


def is_complete(world: World) -> bool:
    key = WorkloadKey(NAMESPACE, "erp-simulator")
    return rollout_state(world.cluster.get_workload(key)) is RolloutState.COMPLETE


def has_succeeded() -> bool:
    return Action.objects.filter(state=ActionState.SUCCEEDED).exists()


def direct(type_: ActionType, params: dict[str, Any], *, verify: bool = True) -> Action:
    target = Target("default", NAMESPACE, "erp-simulator")
    return admit_direct(Proposal(type_, target, Origin.DIRECT, params, verify=verify), actors.token("ana"))


def state() -> tuple[str, str]:
    return only_signal().state, only_signal().reason


def test_a_rollout_that_is_slower_than_every_limit_is_restarted_once_and_succeeds(world: World) -> None:
    """Cooldown and verification are shorter than the rollout, and the problem is reported all the time."""
    GuardrailSetting.objects.update(cooldown_seconds=1, verification_timeout_seconds=1, max_actions_per_hour=9)
    world.deploy(slow(ready_after="700ms"))

    with world.reconciling():
        post(anomaly("erp-simulator", "error"))
        until(lambda: Action.objects.filter(applied_at__isnull=False).exists())
        while Action.objects.filter(state=ActionState.VERIFYING).exists():
            post(anomaly("erp-simulator", "error"))
            threading.Event().wait(0.2)

    action = Action.objects.earliest("id")
    assert (action.state, action.reason) == (ActionState.SUCCEEDED, Reason.ROLLOUT_COMPLETE)
    assert action.finished_at is not None
    assert action.applied_at is not None
    assert (action.finished_at - action.applied_at).total_seconds() > 1, "it was slower than its limits"
    assert Action.objects.filter(created_at__lt=action.finished_at).count() == 1


def test_somebody_elses_rollout_is_left_alone_until_it_has_ended_and_settled(world: World, somebody: Client) -> None:
    GuardrailSetting.objects.update(rollout_settle_seconds=3600)
    world.deploy(slow(NEVER), settled=False)
    until_started(world, lambda: is_complete(world))
    template = {"spec": {"containers": [{"name": "app", "image": "example.test/app:2"}]}}
    somebody.patch("deployments/erp-simulator", {"spec": {"template": template}})

    with world.reconciling():
        post(anomaly("erp-simulator", "error"))
        until(lambda: bool(only_signal().reason))
        assert state() == (SignalState.PENDING, Reason.ROLLOUT_IN_PROGRESS)
        message = only_signal().message
        until_started(world, lambda: only_signal().reason == Reason.TEMPLATE_CHANGED)  # long before the deferral ends
        assert not Action.objects.exists()
        GuardrailSetting.objects.update(rollout_settle_seconds=0)  # as if the time had passed
        Signal.objects.update(not_before=Now())
        until_started(world, has_succeeded)

    assert "in progress" in message
    assert "by " in message
    assert "since " in message
    assert [one.reason for one in DecisionRecord.objects.order_by("id")] == [
        Reason.ROLLOUT_IN_PROGRESS,
        Reason.TEMPLATE_CHANGED,
        "",
    ]


def test_the_first_rollout_of_a_workload_is_waited_for_and_needs_no_time_to_settle(world: World) -> None:
    world.deploy(slow(NEVER), settled=False)
    post(anomaly("erp-simulator", "error"))

    with world.reconciling():
        until(lambda: bool(only_signal().reason))
        assert state() == (SignalState.PENDING, Reason.ROLLOUT_IN_PROGRESS)
        until_started(world, has_succeeded)

    assert [one.reason for one in DecisionRecord.objects.order_by("id")] == [Reason.ROLLOUT_IN_PROGRESS, ""]


def test_a_pod_that_fails_after_the_rollout_is_what_the_loop_is_for(world: World, somebody: Client) -> None:
    world.deploy(deployment("erp-simulator", 2, ready_after="100ms"))
    [pod, *_] = somebody.get("pods")["items"]
    somebody.send("DELETE", f"pods/{pod['metadata']['name']}")
    post(anomaly("erp-simulator", "error"))

    world.drain()

    assert only_action().state == ActionState.SUCCEEDED


def broken(somebody: Client, deadline: int = 1) -> None:
    """Somebody's deployment that gets stuck. It is in progress for `deadline` seconds."""
    template = {"metadata": {"annotations": {"sim/outcome": "crash"}}}
    somebody.patch("deployments/erp-simulator", {"spec": {"progressDeadlineSeconds": deadline, "template": template}})


@pytest.mark.parametrize(("symptom", "acts"), [("error", False), ("latency", True)])
def test_a_stuck_rollout_of_somebody_else_is_scaled_and_not_restarted(
    world: World, somebody: Client, symptom: str, acts: bool
) -> None:
    GuardrailSetting.objects.update(rollout_settle_seconds=0)
    world.deploy(deployment("erp-simulator"))
    broken(somebody)
    key = WorkloadKey(NAMESPACE, "erp-simulator")
    until(lambda: "ProgressDeadlineExceeded" in [one.reason for one in world.cluster.get_workload(key).conditions])
    post(anomaly("erp-simulator", symptom))

    world.drain()

    assert Action.objects.exists() is acts
    if not acts:
        assert state() == (SignalState.PENDING, Reason.ROLLOUT_STUCK)
        assert "kubectl rollout undo" in only_signal().message


def test_a_direct_restart_in_the_middle_of_a_rollout_is_made_with_a_warning(world: World, somebody: Client) -> None:
    world.deploy(deployment("erp-simulator"))
    broken(somebody, deadline=600)

    direct(ActionType.RESTART, {}, verify=False)
    world.drain()

    action = only_action()
    assert action.state == ActionState.SUCCEEDED
    [warning] = action.warnings
    assert (warning["guardrail"], warning["reason"]) == ("rollout", Reason.ROLLOUT_IN_PROGRESS)
    plan = DecisionRecord.objects.filter(action=action, phase="plan").latest("id")
    assert [one["message"] for one in plan.verdicts if one["outcome"] == "warn"] == [warning["message"]]


def test_our_own_unverified_rollout_is_waited_for_too(world: World) -> None:
    world.deploy(slow(NEVER), settled=False)
    until_started(world, lambda: is_complete(world))
    direct(ActionType.RESTART, {}, verify=False)
    world.drain()
    GuardrailSetting.objects.update(cooldown_seconds=0)
    post(anomaly("erp-simulator", "latency"))

    world.drain()

    first = DecisionRecord.objects.exclude(signal=None).earliest("id")
    assert first.reason == Reason.ROLLOUT_IN_PROGRESS
    assert "by SmartOps" in first.message


@pytest.mark.parametrize("symptom", ["error", "latency"])
def test_a_workload_that_somebody_scaled_to_zero_stays_there(world: World, symptom: str) -> None:
    world.deploy(deployment("erp-simulator", 0))
    post(anomaly("erp-simulator", symptom))

    world.drain()

    assert state() == (SignalState.DENIED, Reason.TARGET_SCALED_TO_ZERO)
    assert (world.replicas("erp-simulator"), world.writes()) == (0, [])


@pytest.mark.parametrize(
    ("action_type", "params", "reason"),
    [
        ("SCALE", {"delta": -5}, Reason.REPLICA_LIMIT),
        ("SCALE", {"delta": -4}, Reason.SCALE_VELOCITY_LIMIT),
        ("SCALE", {"replicas": 0, "direction": "down"}, Reason.REPLICA_LIMIT),
        ("SCALE", {"replicas": 2}, Reason.WRONG_DIRECTION),
        ("PATCH", {"patch": {"spec": {"replicas": 0}}, "direction": "down"}, Reason.REPLICA_LIMIT),
        ("PATCH", {"patch": {"spec": {"replicas": 2}}}, Reason.WRONG_DIRECTION),
    ],
)
def test_a_stored_rule_that_removes_too_much_is_denied(
    world: World, action_type: str, params: dict[str, Any], reason: Reason
) -> None:
    Rule.objects.create(
        name="down", priority=1, source="anomaly", symptom="error", action_type=action_type, params=params
    )
    world.deploy(deployment("erp-simulator", 5))
    post(anomaly("erp-simulator", "error"))

    world.drain()

    assert state() == (SignalState.DENIED, reason)
    assert (world.replicas("erp-simulator"), world.writes()) == (5, [])


def test_few_replicas_are_removed_in_a_quarter_of_an_hour(world: World) -> None:
    GuardrailSetting.objects.update(cooldown_seconds=0)
    rule = {"priority": 1, "source": "anomaly", "symptom": "error", "action_type": "SCALE"}
    Rule.objects.create(name="down", **rule, params={"delta": -2})
    world.deploy(deployment("erp-simulator", 6))

    for _ in range(2):
        post(anomaly("erp-simulator", "error"))
        world.drain()

    assert world.replicas("erp-simulator") == 4
    assert Signal.objects.get(state=SignalState.PENDING).reason == Reason.SCALE_VELOCITY_LIMIT


@pytest.mark.parametrize(
    ("type_", "params"),
    [
        (ActionType.RESTART, {}),
        (ActionType.PATCH, {"patch": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}}}),
    ],
)
def test_a_change_of_no_pods_is_no_success(world: World, type_: ActionType, params: dict[str, Any]) -> None:
    world.deploy(deployment("erp-simulator", 0))
    direct(type_, params)

    world.drain()

    action = only_action()
    assert (action.state, action.reason) == (ActionState.FAILED, Reason.NO_PODS)
    assert (action.verification.status, action.applied_at is not None) == ("FAILED", True)
    assert [one["reason"] for one in action.warnings] == [Reason.TARGET_SCALED_TO_ZERO]


@pytest.mark.parametrize(("before", "after"), [(2, 0), (0, 2), (0, 0)])
def test_a_person_scales_to_and_from_zero(world: World, before: int, after: int) -> None:
    world.deploy(deployment("erp-simulator", before))
    direct(ActionType.SCALE, {"replicas": after})

    world.drain()

    assert (only_action().state, only_action().warnings) == (ActionState.SUCCEEDED, [])
    assert world.replicas("erp-simulator") == after
