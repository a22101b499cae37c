"""Signals wait for rollouts without a loop of their own: simulated passes."""

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from orchestrator.k8s.types import FIELD_MANAGER, TemplateChange, WorkloadKey
from orchestrator.models import Action, ActionState, DecisionRecord
from signals.lib.clock import database_now
from signals.models import Signal
from signals.reasons import Reason
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Simulation

ERP = WorkloadKey(NAMESPACE, "erp-simulator")
HALF: dict[str, Any] = {"updated_replicas": 1, "status_replicas": 3}


def begin(simulation: Simulation, **fields: Any) -> None:
    """A signal that would scale a workload, in the middle of a rollout."""
    simulation.cluster.deploy("erp-simulator")
    simulation.cluster.change(ERP, **HALF | fields)
    simulation.observe()
    post(anomaly("erp-simulator"))
    simulation.run()


def reason() -> str:
    return Signal.objects.get().reason


def test_a_signal_waits_for_a_rollout_and_is_decided_again_when_the_cache_shows_its_end(simulation: Simulation) -> None:
    begin(simulation)
    signal, record = Signal.objects.get(), DecisionRecord.objects.get()
    assert (signal.reason, simulation.calls) == (Reason.ROLLOUT_IN_PROGRESS, [])
    assert record.until is not None
    assert timedelta(seconds=30) < record.until - record.created_at < timedelta(seconds=61)

    for ready in (0, 1, 2):
        simulation.cluster.change(ERP, ready_replicas=ready)
        simulation.observe()
        simulation.sweep()
    assert DecisionRecord.objects.count() == 1, "its progress makes nothing due"

    simulation.cluster.roll_out(ERP)
    simulation.observe()
    simulation.run(2)
    assert Action.objects.get().state == ActionState.VERIFYING
    assert DecisionRecord.objects.count() == 2
    assert simulation.calls == ["scale erp-simulator to 3 at 7"]


def test_a_rollout_that_ends_while_no_signal_waits_wakes_nobody(simulation: Simulation) -> None:
    begin(simulation)
    Signal.objects.update(reason=Reason.FROZEN)
    simulation.cluster.roll_out(ERP)
    simulation.observe()
    simulation.sweep()

    assert (reason(), DecisionRecord.objects.count()) == (Reason.FROZEN, 1)


def test_a_rollout_whose_end_the_cache_missed_is_decided_on_after_a_minute(simulation: Simulation) -> None:
    begin(simulation)
    other = Simulation(simulation.cluster)  # another process, whose cache begins with the complete rollout
    simulation.cluster.roll_out(ERP)
    other.observe()
    other.sweep()
    assert reason() == Reason.ROLLOUT_IN_PROGRESS

    Signal.objects.update(not_before=Now())
    other.sweep()
    other.run()
    assert Action.objects.get().state == ActionState.VERIFYING


def test_a_retried_write_of_ours_is_no_rollout_of_somebody_else(simulation: Simulation) -> None:
    """It was certainly not applied, and our earlier changes of the template need no time to settle."""
    simulation.cluster.deploy("erp-simulator", template_changes=(TemplateChange(FIELD_MANAGER, database_now()),))
    simulation.observe()
    post(anomaly("erp-simulator"))
    simulation.cluster.change(ERP)  # its first write meets a conflict
    simulation.run(4)

    assert [one.phase for one in DecisionRecord.objects.order_by("id")] == ["admit", "plan"]
    assert Action.objects.get().state == ActionState.VERIFYING


def test_a_rollout_that_begins_between_the_decision_and_the_write_puts_the_action_off(simulation: Simulation) -> None:
    simulation.cluster.deploy("erp-simulator")
    simulation.observe()
    post(anomaly("erp-simulator"))
    simulation.cluster.change(ERP, generation=2, observed_generation=2, **HALF)
    simulation.run(4)

    action = Action.objects.get()
    assert (action.state, action.reason) == (ActionState.PENDING, Reason.ROLLOUT_IN_PROGRESS)
    assert simulation.cluster.deployments[ERP].replicas == 2


def test_a_signal_that_waited_longer_than_its_time_to_live_is_still_acted_upon(simulation: Simulation) -> None:
    started = TemplateChange("kubectl-set", database_now() - timedelta(minutes=20))
    begin(simulation, template_changes=(started,))
    Signal.objects.update(last_seen_at=Now() - timedelta(minutes=20), not_before=Now())

    simulation.sweep()
    assert reason() == Reason.ROLLOUT_IN_PROGRESS, "and not SignalExpired"
