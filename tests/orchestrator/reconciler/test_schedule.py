"""Whole schedules, pass by pass: the clock is simulated, the calls to the network are made between two passes."""

from datetime import timedelta

from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from orchestrator.k8s.errors import Conflict, Throttled, TimedOut
from orchestrator.k8s.rollout import FREED_WITHIN
from orchestrator.k8s.types import Condition, WorkloadKey
from orchestrator.models import Action, ActionState, DecisionRecord
from orchestrator.reconciler.retry import BASE_DELAY
from signals import actors
from signals.models import Signal, SignalState
from signals.reasons import Reason
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Lost, Simulation
from tests.kit.world import only_action

S = ActionState
ERP = WorkloadKey(NAMESPACE, "erp-simulator")


def begin(simulation: Simulation) -> None:
    """A due signal that asks for one more replica than two."""
    simulation.cluster.deploy("erp-simulator")
    simulation.observe()
    post(anomaly("erp-simulator"))


def state() -> tuple[str, str]:
    action = Action.objects.get()
    return action.state, action.reason


def timeline() -> list[tuple[str, str, int]]:
    return list(only_action().events.values_list("from_state", "to_state", "epoch"))


def test_a_signal_becomes_a_verified_change_although_its_first_write_meets_a_conflict(simulation: Simulation) -> None:
    cluster = simulation.cluster
    begin(simulation)

    simulation.run()
    assert (Signal.objects.get().state, state(), simulation.calls) == (SignalState.ADMITTED, (S.APPLYING, ""), [])
    assert only_action().planned_resource_version == "2"

    cluster.change(ERP)  # somebody labels it before the write arrives
    simulation.run()
    assert simulation.calls == ["scale erp-simulator to 3 at 2"]

    simulation.run()  # the read arrives, is checked, and a second write is sent
    assert simulation.calls[1:] == ["read erp-simulator"]
    assert only_action().planned_resource_version == "3"

    simulation.run()
    assert simulation.calls[2:] == ["scale erp-simulator to 3 at 3"]
    assert state() == (S.VERIFYING, "")
    assert [one.phase for one in DecisionRecord.objects.order_by("id")] == ["admit", "plan"]

    simulation.observe()
    simulation.run()
    assert state() == (S.VERIFYING, "")

    cluster.roll_out(ERP)
    simulation.observe()
    simulation.run()
    simulation.clock.advance(4.9)
    simulation.run()
    assert state() == (S.VERIFYING, ""), "the rollout has been complete for less than its stabilization"

    simulation.clock.advance(0.1)
    simulation.run()
    assert state() == (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)
    assert simulation.calls[3:] == []
    assert Signal.objects.get().closed_at is not None
    assert timeline() == [
        ("", S.APPLYING, 1),
        (S.APPLYING, S.APPLYING, 1),
        (S.APPLYING, S.VERIFYING, 1),
        (S.VERIFYING, S.SUCCEEDED, 1),
    ]


def test_a_rollout_that_is_undone_within_its_stabilization_is_awaited_anew(simulation: Simulation) -> None:
    begin(simulation)
    simulation.run(2)
    simulation.cluster.roll_out(ERP)
    simulation.observe()
    simulation.run()

    simulation.clock.advance(4)
    simulation.cluster.change(ERP, available_replicas=2)
    simulation.observe()
    simulation.run()
    simulation.clock.advance(1)
    simulation.cluster.roll_out(ERP)
    simulation.observe()
    simulation.run()
    simulation.clock.advance(4)
    simulation.run()
    assert state() == (S.VERIFYING, "")

    simulation.clock.advance(1)
    simulation.run()
    assert state() == (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)


def test_a_lost_answer_of_a_write_that_was_applied_is_found_by_a_read(simulation: Simulation) -> None:
    begin(simulation)
    simulation.cluster.writes.append(Lost(TimedOut("no answer within 10 s")))

    simulation.run(2)
    assert state() == (S.APPLYING, "")
    simulation.run()

    assert simulation.calls == ["scale erp-simulator to 3 at 2", "read erp-simulator"]
    assert state() == (S.VERIFYING, "")
    assert simulation.cluster.deployments[ERP].replicas == 3


def test_a_lost_write_that_was_not_applied_is_sent_again_unchanged(simulation: Simulation) -> None:
    begin(simulation)
    simulation.cluster.writes.append(TimedOut("no answer within 10 s"))

    simulation.run(4)

    write, read = "scale erp-simulator to 3 at 2", "read erp-simulator"
    assert simulation.calls == [write, read]
    assert state() == (S.PENDING, Reason.CLUSTER_UNREACHABLE)

    Action.objects.update(not_before=Now())
    simulation.sweep()
    simulation.run(2)
    assert simulation.calls == [write, read, read, write]
    assert state() == (S.VERIFYING, "")


def test_a_throttled_write_waits_for_exactly_its_backoff(simulation: Simulation) -> None:
    begin(simulation)
    simulation.cluster.writes.append(Throttled("too many requests"))

    simulation.run(2)

    action = only_action()
    assert state() == (S.PENDING, Reason.CLUSTER_THROTTLED)
    assert action.not_before - action.updated_at == timedelta(seconds=2 * BASE_DELAY)
    simulation.sweep()
    assert len(simulation.calls) == 1, "it is not due yet"

    Action.objects.update(not_before=Now())
    simulation.sweep()
    simulation.run(2)
    assert simulation.calls[1:] == ["read erp-simulator", "scale erp-simulator to 3 at 2"]
    assert (state(), only_action().attempts) == ((S.VERIFYING, ""), 2)


def test_a_target_that_others_keep_changing_is_left_after_five_writes(simulation: Simulation) -> None:
    begin(simulation)
    simulation.cluster.writes.extend(Conflict("the object has been modified") for _ in range(9))

    simulation.run(12)

    write, read = "scale erp-simulator to 3 at 2", "read erp-simulator"
    assert simulation.calls == [write, read] * 4 + [write]
    assert state() == (S.PENDING, Reason.CONFLICT)


def test_a_verification_times_out_after_a_live_read(simulation: Simulation) -> None:
    begin(simulation)
    simulation.run(2)
    deadline = simulation.reconciler.verifications.next_alarm()
    assert deadline == 60.0

    simulation.clock.advance(59.9)
    simulation.run(2)
    assert (state(), len(simulation.calls)) == ((S.VERIFYING, ""), 1)

    simulation.clock.advance(0.1)
    simulation.run()
    assert (state(), len(simulation.calls)) == ((S.VERIFYING, ""), 1), "the cache may be stale"
    simulation.run()
    assert simulation.calls[1:] == ["read erp-simulator"]
    assert state() == (S.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)
    assert only_action().verification.desired_replicas == 3


def test_a_live_read_at_the_deadline_may_find_the_rollout_complete(simulation: Simulation) -> None:
    begin(simulation)
    simulation.run(2)
    simulation.cluster.roll_out(ERP)  # the cache does not see it

    simulation.clock.advance(60)
    simulation.run(2)

    assert simulation.calls[1:] == ["read erp-simulator"]
    assert state() == (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)


def test_another_reconciler_reclaims_an_action_whose_lease_has_ended(simulation: Simulation) -> None:
    begin(simulation)
    simulation.pool.held = True  # its write never leaves the process
    simulation.run()
    other = Simulation(simulation.cluster)
    other.reconciler.actor = actors.reconciler("other")
    other.observe()
    other.run()
    assert other.pool.under_way == 0

    Action.objects.update(lease_until=Now() - timedelta(seconds=1))
    other.sweep()
    assert timeline()[-1] == (S.APPLYING, S.APPLYING, 2)
    other.run(2)
    assert state() == (S.VERIFYING, "")
    simulation.pool.held = False  # the write of the first arrives after all
    simulation.run(2)

    write = "scale erp-simulator to 3 at 2"
    assert simulation.calls == ["read erp-simulator", write, write, "read erp-simulator"]
    assert only_action().moved_by == "reconciler:other"
    assert simulation.cluster.deployments[ERP].replicas == 3
    assert simulation.reconciler.under_way.claims == set()


def test_both_reconcilers_may_verify_and_one_records_the_outcome(simulation: Simulation) -> None:
    begin(simulation)
    simulation.run(2)
    other = Simulation(simulation.cluster)
    other.observe()
    other.sweep()
    simulation.cluster.roll_out(ERP)

    for one in (simulation, other):
        one.observe()
        one.run()
        one.clock.advance(5)
        one.run()

    assert state() == (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)
    assert (len(simulation.reconciler.verifications), len(other.reconciler.verifications)) == (0, 0)
    assert timeline()[-1] == (S.VERIFYING, S.SUCCEEDED, 1)
    assert len(timeline()) == 3


def refused_by_a_quota(simulation: Simulation) -> str:
    """A SCALE whose replica the cluster does not run, and which has failed. Returns what the cluster says."""
    GuardrailSetting.objects.update(cooldown_seconds=0)
    begin(simulation)
    simulation.run(3)
    said = 'pods "erp-1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    condition = Condition("ReplicaFailure", "True", "FailedCreate", said, "2026-01-01T00:00:01Z")
    generation = simulation.cluster.deployments[ERP].generation
    simulation.cluster.change(ERP, observed_generation=generation, conditions=(condition,))
    simulation.observe()
    simulation.run()
    assert state() == (S.VERIFYING, "")

    simulation.clock.advance(FREED_WITHIN)
    simulation.run(3)
    assert state() == (S.FAILED, Reason.REPLICA_FAILURE)
    assert only_action().message.endswith(said)
    return said


def test_no_replica_is_added_while_that_of_the_last_scale_is_missing(simulation: Simulation) -> None:
    """The quota stays, and the loop names it instead of asking for more."""
    said = refused_by_a_quota(simulation)

    post(anomaly("erp-simulator", "latency"))
    simulation.run(1, "signal")
    assert Signal.objects.get(symptom="latency").reason == Reason.REPLICAS_MISSING
    assert said in Signal.objects.get(symptom="latency").message
    assert Action.objects.count() == 1

    simulation.cluster.roll_out(ERP)
    simulation.observe()
    Signal.objects.update(not_before=Now())
    simulation.sweep()
    assert Action.objects.count() == 2


def test_a_replica_that_came_late_and_is_lost_again_holds_no_scale_back(simulation: Simulation) -> None:
    refused_by_a_quota(simulation)
    simulation.cluster.roll_out(ERP)
    simulation.observe()
    for _ in range(2):
        simulation.sweep()
    simulation.cluster.change(ERP, available_replicas=1, ready_replicas=1)
    simulation.observe()

    post(anomaly("erp-simulator", "latency"))
    simulation.run(1, "signal")

    assert Action.objects.count() == 2
