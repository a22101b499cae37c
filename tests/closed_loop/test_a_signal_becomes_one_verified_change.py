"""The main job, end to end: what an agent reports becomes one verified change in the cluster."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from guardrails.replay import replay
from orchestrator.decide.direct import admit_direct
from orchestrator.k8s.resources import AUTOSCALERS, DEPLOYMENTS
from orchestrator.models import Action, ActionState, DecisionRecord
from orchestrator.reconciler import verify
from signals import actors
from signals.models import Rule, Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Observation, Origin, Proposal, Target
from smartops.dev.sandbox.faults import Refuse
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause
from tests.kit.verbs import admit, execute
from tests.kit.world import World, deployment, endless, only_action, only_signal


@pytest.fixture(autouse=True)
def every_decision_can_be_made_again(world: World) -> Iterator[None]:
    """Whatever a test made the loop decide: the stored inputs lead to the stored verdicts."""
    yield
    for decision in DecisionRecord.objects.all():
        assert replay(decision.inputs) == decision.verdicts


def test_a_resource_anomaly_adds_one_replica(world: World) -> None:
    world.deploy(deployment("erp-simulator", replicas=2))
    post(anomaly("erp-simulator"))

    world.drain()

    action = only_action()
    assert (action.type, action.state, action.reason) == ("SCALE", ActionState.SUCCEEDED, Reason.ROLLOUT_COMPLETE)
    assert action.verification.status == "SUCCESS"
    assert (action.verification.desired_replicas, action.verification.available_replicas) == (3, 3)
    assert world.replicas("erp-simulator") == 3
    assert only_signal().state == SignalState.ADMITTED
    assert only_signal().closed_at is not None


def test_a_memory_leak_restarts_the_workload(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(root_cause("erp-simulator"))

    world.drain()

    action = only_action()
    assert (action.type, action.state) == ("RESTART", ActionState.SUCCEEDED)
    assert len(world.writes()) == 1
    assert str(action.pk).encode() in world.writes()[0].body


def test_an_action_takes_one_request_and_an_event(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    before = len(world.sandbox.requests)
    post(anomaly("erp-simulator"))

    world.drain()

    requests = world.sandbox.requests[before:]
    about_it = [one.method for one in requests if one.path.split("?")[0].endswith("/deployments/erp-simulator")]
    assert about_it == ["PATCH"]
    assert [one.path.split("?")[0].rpartition("/")[2] for one in requests if one.method == "POST"] == ["events"]


def test_the_timeline_tells_every_step(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    world.settle("erp-simulator")
    post(anomaly("erp-simulator"))

    world.drain()

    steps = [(event.from_state, event.to_state) for event in only_action().events.all()]
    assert steps == [
        ("", "applying"),
        ("applying", "verifying"),
        ("verifying", "succeeded"),
    ]
    assert [decision.phase for decision in DecisionRecord.objects.order_by("id")] == ["admit"]


def test_a_second_signal_waits_for_the_first_action_and_then_for_its_cooldown(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))
    world.drain()
    post(anomaly("erp-simulator"))

    world.drain()

    waiting = Signal.objects.get(state=SignalState.PENDING)
    assert waiting.reason == Reason.COOLDOWN_ACTIVE
    assert Cooldown.objects.get().until == waiting.not_before
    assert world.replicas("erp-simulator") == 3


def test_another_kind_of_action_is_not_held_back_by_the_cooldown(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"), root_cause("erp-simulator"))

    world.drain()

    assert sorted(Action.objects.values_list("type", "state")) == [("RESTART", "succeeded"), ("SCALE", "succeeded")]


def test_the_replica_limit_refuses_with_its_numbers(world: World) -> None:
    world.deploy(deployment("erp-simulator", replicas=8))
    post(anomaly("erp-simulator"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.REPLICA_LIMIT)
    verdict = next(v for v in DecisionRecord.objects.get().verdicts if v["guardrail"] == "max_replicas")
    assert verdict["details"] == {"value": 9, "limit": 8, "current": 8}
    assert world.writes() == []


def test_a_narrower_setting_outweighs_a_wider_one(world: World) -> None:
    GuardrailSetting.objects.create(namespace="smartops-dev", max_replicas=2)
    GuardrailSetting.objects.create(namespace="smartops-dev", workload="erp-simulator", max_replicas=3)
    world.deploy(deployment("erp-simulator", replicas=2), deployment("other", replicas=2))
    post(anomaly("erp-simulator"), anomaly("other"))

    world.drain()

    states = dict(Signal.objects.values_list("workload", "state"))
    assert states == {"erp-simulator": SignalState.ADMITTED, "other": SignalState.DENIED}


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (anomaly("erp-simulator", score=0.5), Reason.BELOW_THRESHOLD),
        (root_cause("erp-simulator", confidence=0.2), Reason.BELOW_THRESHOLD),
        (anomaly("erp-simulator", "other"), Reason.NO_RULE),
    ],
)
def test_a_signal_that_no_rule_acts_upon_is_ignored_with_its_reason(
    world: World, observation: Observation, reason: Reason
) -> None:
    world.deploy(deployment("erp-simulator"))
    post(observation)

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.IGNORED, reason)
    assert not Action.objects.exists()


@pytest.mark.parametrize(
    ("service", "namespace", "reason"),
    [("nobody", "smartops-dev", Reason.TARGET_NOT_FOUND), ("x", "elsewhere", Reason.NAMESPACE_NOT_MANAGED)],
)
def test_a_signal_of_an_unknown_target_is_denied(world: World, service: str, namespace: str, reason: Reason) -> None:
    world.deploy()
    post(anomaly(service, target=Target("default", namespace, service)))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, reason)


def test_a_target_that_the_watch_has_not_shown_yet_is_not_called_missing(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))
    cache = world.reconciler().cache
    for resource in (DEPLOYMENTS, AUTOSCALERS):  # as if they had been listed before the Deployment was created
        cache._status.synced(resource, NAMESPACE)
    assert cache.observe(only_signal().target).object is None

    admit(only_signal().pk, cache.observe_live, "reconciler:node/1")

    assert only_signal().state == SignalState.ADMITTED


def test_a_resolved_signal_never_acts(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))
    post(anomaly("erp-simulator", firing=False))

    world.drain()

    assert only_signal().state == SignalState.RESOLVED
    assert world.writes() == []


def test_a_healthy_window_alone_never_acts(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator", firing=False))

    world.drain()

    assert not Signal.objects.exists()
    assert world.writes() == []


def test_a_freeze_holds_the_loop_back_and_says_who_and_why(world: World) -> None:
    Freeze.objects.create(namespace="smartops-dev", reason="quarter's end", by="user:ana")
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.PENDING, Reason.FROZEN)
    assert "ana" in only_signal().message
    assert "quarter's end" in only_signal().message


def test_a_rollout_that_gets_stuck_fails_with_the_evidence(world: World) -> None:
    broken = deployment("erp-simulator", outcome="crash")
    broken["spec"]["progressDeadlineSeconds"] = 1
    world.deploy(broken)
    post(root_cause("erp-simulator"))

    world.drain()

    action = only_action()
    assert (action.state, action.reason) == (ActionState.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert action.verification.status == "FAILED"
    assert action.verification.available_replicas == 0


def test_a_failure_is_told_though_the_cluster_did_not_confirm_it_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "READ_AGAIN", 0.1)
    GuardrailSetting.objects.update(verification_timeout_seconds=20)
    broken = deployment("erp-simulator", outcome="crash")
    broken["spec"]["progressDeadlineSeconds"] = 1
    world.deploy(broken)
    world.sandbox.fault(Refuse(method="GET", path="/deployments/erp-simulator$", status=503))
    post(root_cause("erp-simulator"))

    world.drain()

    action = only_action()
    assert (action.state, action.reason) == (ActionState.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert action.finished_at is not None
    assert action.finished_at < action.deadline_at


def test_a_rollout_that_takes_too_long_times_out(world: World) -> None:
    GuardrailSetting.objects.update(verification_timeout_seconds=1)
    world.deploy(endless("erp-simulator"), settled=False)
    target = Target("default", "smartops-dev", "erp-simulator")
    admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("ana"))

    world.drain()

    action = only_action()
    assert (action.state, action.reason) == (ActionState.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)
    assert action.verification.status == "TIMED_OUT"
    assert action.verification.desired_replicas == 3


def test_one_poisonous_signal_costs_one_row(world: World) -> None:
    Rule.objects.create(name="broken", priority=1, source="anomaly", symptom="error", action_type="SCALE", params={})
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator", "error"), anomaly("erp-simulator", "resource"))

    world.drain()

    states = dict(Signal.objects.values_list("symptom", "state"))
    assert states["resource"] == SignalState.ADMITTED
    poison = Signal.objects.get(symptom="error")
    assert (poison.state, poison.reason, poison.errors) == (SignalState.PENDING, Reason.PROCESSING_ERROR, 1)


def test_a_lifted_freeze_lets_what_waited_act_at_once(world: World) -> None:
    freeze = Freeze.objects.create(reason="release", by="user:ana", until=timezone.now() + timedelta(days=1))
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator"))
    world.drain()
    assert only_signal().reason == Reason.FROZEN

    freeze.lift("user:ana", "it is over")
    world.drain()

    assert only_action().state == ActionState.SUCCEEDED


def test_a_cooldown_that_an_operator_ends_is_over(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    for _ in range(2):
        post(anomaly("erp-simulator"))
        world.drain()
    assert world.replicas("erp-simulator") == 3

    Cooldown.objects.all().delete()
    world.drain()

    assert world.replicas("erp-simulator") == 4


def test_a_direct_action_in_a_namespace_that_is_not_managed_is_cancelled(world: World) -> None:
    target = Target("default", "elsewhere", "erp-simulator")
    admit_direct(Proposal(ActionType.RESTART, target, Origin.DIRECT, {}), actors.token("ana"))

    world.drain()

    action = Action.objects.get()
    assert (action.state, action.reason) == (ActionState.CANCELLED, Reason.NAMESPACE_NOT_MANAGED)


def test_a_rule_cannot_patch_what_the_api_would_refuse(world: World) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil"}]}}}}
    Rule.objects.create(
        name="evil", priority=1, source="anomaly", symptom="error", action_type="PATCH", params={"patch": patch}
    )
    world.deploy(deployment("erp-simulator"))
    post(anomaly("erp-simulator", "error"))

    world.drain()

    signal = only_signal()
    assert (signal.state, signal.reason) == (SignalState.DENIED, Reason.PATCH_FORBIDDEN)
    assert "image" in signal.message
    assert not Action.objects.exists()
    assert world.writes() == []


def test_a_dry_run_changes_nothing_and_counts_nowhere(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    target = Target("default", "smartops-dev", "erp-simulator")
    admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 5}, dry_run=True), actors.token("ana"))

    world.drain()

    action = Action.objects.get()
    assert (action.state, action.applied_at) == (ActionState.SUCCEEDED, None)
    assert world.replicas("erp-simulator") == 2
    assert not Cooldown.objects.exists()


def test_a_problem_that_ends_before_the_next_write_is_not_acted_upon(world: World) -> None:
    world.deploy(deployment("erp-simulator"))
    world.sandbox.fault(Refuse(method="PATCH", status=409))
    post(anomaly("erp-simulator"))
    claim = admit(only_signal().pk, world.observe, "reconciler:node/1")
    assert claim is not None
    post(anomaly("erp-simulator", firing=False))

    execute(claim, world.cluster, world.observe, "reconciler:node/1")

    assert (only_action_state(), world.writes()) == ((ActionState.CANCELLED, Reason.SIGNAL_RESOLVED), [])
    assert only_signal().closed_at is not None


def only_action_state() -> tuple[str, str]:
    return Action.objects.values_list("state", "reason").get()
