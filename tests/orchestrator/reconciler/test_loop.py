"""The loop around the verbs: what it takes on, what it keeps after an error, and how it ends."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Event, Timer
from typing import Any

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from psycopg_pool import PoolTimeout
from pytest_django import Settings

from guardrails.models import Cooldown
from guardrails.types import PolicyAnswer
from orchestrator import queries
from orchestrator.decide import policy
from orchestrator.k8s.errors import Throttled, TimedOut
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, DecisionRecord, Heartbeat, Workload, transition_store, transitions
from orchestrator.reconciler import admit, approvals, calls, claim, plan, reclaim, record, verify
from orchestrator.reconciler.loop import Reconciler
from orchestrator.reconciler.pool import ThreadPool
from signals import actors
from signals import transitions as signal_transitions
from signals.ingest import ingest
from signals.ledger import Window
from signals.models import Signal, SignalState
from signals.reasons import Reason
from tests.kit.patience import PATIENCE
from tests.kit.signals import NAMESPACE, anomaly, post, root_cause, wait
from tests.kit.simulation import Simulation
from tests.kit.verbs import fail_once, lease_ends, poison, requested, row
from tests.kit.world import only_action

S = ActionState


@pytest.fixture(autouse=True)
def kept_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error, the loop goes on with another session; here it is the one whose transaction is the test."""
    monkeypatch.setattr("orchestrator.reconciler.steps.connection.close", lambda: None)


ERP = WorkloadKey(NAMESPACE, "erp-simulator")


def deploy(simulation: Simulation, *names: str) -> None:
    for name in names:
        simulation.cluster.deploy(name)
    simulation.observe()


def states() -> dict[str, str]:
    return {one.workload.name: one.state for one in Action.objects.select_related("workload")}


def is_at_rest(simulation: Simulation) -> bool:
    """Nothing is held in memory: what is left is in the tables."""
    reconciler, inbox = simulation.reconciler, simulation.reconciler.under_way.inbox
    kept = [inbox.candidates, inbox.readings, inbox.answers, inbox.confirmations, reconciler.verifications.ended]
    return not (
        any(kept) or reconciler.under_way.claims or reconciler.under_way.looking_up or simulation.pool.under_way
    )


@pytest.fixture
def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A policy engine that allows everything; `answers` are by workload."""
    settings.SMARTOPS_OPA_URL = "http://opa"
    answers: dict[str, bool] = {}

    def answer(proposal: Any, *_: object) -> PolicyAnswer:
        return PolicyAnswer(answers.get(proposal.target.name, True), "as the test says", "opa")

    monkeypatch.setattr(policy, "check_policy", answer)
    return answers


class TestWhatIsTakenOn:
    def test_nothing_is_taken_on_before_the_cluster_is_known(self, simulation: Simulation) -> None:
        simulation.cluster.deploy("erp-simulator")
        post(anomaly("erp-simulator"))
        requested("another")

        simulation.run(2)
        assert (Signal.objects.get().state, simulation.pool.under_way) == (SignalState.PENDING, 0)

        simulation.observe()
        simulation.run()
        assert Signal.objects.get().state == SignalState.ADMITTED

    @pytest.mark.usefixtures("rules")
    @pytest.mark.parametrize(("under_way", "room"), [(0, 8), (3, 5), (4, 4), (5, 0), (8, 0), (20, 0)])
    def test_room_is_made_when_half_of_the_calls_are_done(self, under_way: int, room: int) -> None:
        simulation = Simulation(workers=4)
        simulation.observe()
        for _ in range(under_way):
            simulation.pool.submit(lambda: None)

        assert simulation.reconciler.under_way.room() == room

    @pytest.mark.usefixtures("rules")
    def test_more_signals_than_there_is_room_for_are_admitted_in_batches(self) -> None:
        simulation = Simulation(workers=2)
        names = [f"erp-{number}" for number in range(7)]
        deploy(simulation, *names)
        post(*map(anomaly, names))

        batches = []
        for _ in range(3):
            before = Action.objects.count()
            simulation.run()
            batches.append(Action.objects.count() - before)

        assert batches == [4, 3, 0]

    @pytest.mark.usefixtures("rules")
    def test_actions_that_are_due_come_before_new_signals(self) -> None:
        simulation = Simulation(workers=1)
        deploy(simulation, "a", "b", "c")
        post(anomaly("a"), anomaly("b"))
        requested("c")

        simulation.run()

        assert states()["c"] == S.APPLYING
        assert Signal.objects.filter(state=SignalState.ADMITTED).count() == 1

    @pytest.mark.usefixtures("rules")
    def test_a_flood_of_signals_without_a_target_does_not_delay_the_signal_of_another_token(self) -> None:
        simulation = Simulation(workers=2)
        deploy(simulation, "erp-simulator")
        ingest([anomaly(f"none-{number}") for number in range(200)], actors.token("loud"))
        post(anomaly("erp-simulator"))

        simulation.run(2)

        assert states() == {"erp-simulator": S.VERIFYING}
        assert Signal.objects.filter(state=SignalState.PENDING).count() > 190

    @pytest.mark.usefixtures("rules")
    def test_direct_actions_have_room_of_their_own(self) -> None:
        """However many calls are under way, for instance questions about targets that do not exist."""
        simulation = Simulation(workers=1)
        deploy(simulation, "a", "b", "c", "d", "e")
        requested("a", signal=Signal.objects.get(pk=post(anomaly("a"))[0].signal_id))
        for name in "bcde":
            requested(name)
        simulation.pool.held = True
        for _ in range(9):
            simulation.pool.submit(lambda: None)

        simulation.run(3)

        assert sorted(states().values()) == [S.APPLYING, S.APPLYING, S.PENDING, S.PENDING, S.PENDING]
        assert states()["a"] == S.PENDING
        simulation.pool.held = False
        simulation.run(9)
        assert S.PENDING not in {states()[name] for name in "bcde"}

    def test_a_notification_makes_rows_due_between_two_sweeps(self, simulation: Simulation) -> None:
        deploy(simulation, "a", "b")
        simulation.run()
        post(anomaly("a"))
        requested("b")

        simulation.run()
        assert states() == {"b": S.PENDING}
        simulation.run(1, "signal")
        assert states() == {"a": S.APPLYING, "b": S.PENDING}
        simulation.run(1, "pending")
        assert states() == {"a": S.VERIFYING, "b": S.APPLYING}

    def test_a_sweep_finds_what_no_notification_announced(self, simulation: Simulation) -> None:
        deploy(simulation, "a")
        simulation.run()
        post(anomaly("a"))

        simulation.sweep()

        assert states() == {"a": S.APPLYING}

    @pytest.mark.usefixtures("rules")
    def test_ended_leases_are_reclaimed_as_there_is_room(self) -> None:
        """A call that waits behind too many others would outlive its lease."""
        actions = [requested(f"erp-{number}") for number in range(5)]
        claim.claim_due("default", 9, "reconciler:crashed")
        lease_ends(*actions)
        simulation = Simulation(workers=1)
        deploy(simulation, *(action.workload.name for action in actions))
        simulation.pool.held = True

        simulation.run()
        assert (simulation.pool.under_way, Action.objects.filter(epoch=2).count()) == (2, 2)
        simulation.pool.held = False
        simulation.run(8)  # without another second: each pass with room takes the next
        assert set(states().values()) == {S.VERIFYING}

    def test_an_action_that_was_claimed_too_often_is_given_up_unread(self, simulation: Simulation) -> None:
        deploy(simulation, "a", "b")
        waiting, stuck = requested("a"), requested("b")
        claim.claim_due("default", 9, "reconciler:crashed")
        Action.objects.update(attempts=claim.MAX_CLAIMS)
        Action.objects.filter(pk=waiting.pk).update(state=S.PENDING, lease_until=None)
        lease_ends(stuck)

        simulation.run(2)

        assert states() == {"a": S.FAILED, "b": S.FAILED}
        assert set(Action.objects.values_list("reason", flat=True)) == {Reason.RETRIES_EXHAUSTED}
        assert simulation.calls == []
        assert is_at_rest(simulation)


class TestWhatIsAsked:
    @pytest.mark.usefixtures("engine")
    def test_a_policy_answer_that_comes_late_is_awaited_once(self, simulation: Simulation) -> None:
        deploy(simulation, "erp-simulator")
        post(anomaly("erp-simulator"))
        simulation.pool.held = True

        simulation.run()
        simulation.sweep()
        assert (simulation.pool.under_way, Action.objects.count()) == (1, 0)
        assert simulation.reconciler.under_way.looking_up == {Signal.objects.get().pk}

        simulation.pool.held = False
        simulation.run()
        assert states() == {"erp-simulator": S.APPLYING}
        assert simulation.reconciler.under_way.looking_up == set()

    def test_a_denial_of_the_policy_ends_the_signal(self, simulation: Simulation, engine: dict[str, bool]) -> None:
        engine["erp-simulator"] = False
        deploy(simulation, "erp-simulator")
        post(anomaly("erp-simulator"))

        simulation.run(2)

        assert (Signal.objects.get().state, Signal.objects.get().reason) == (SignalState.DENIED, Reason.POLICY_DENIED)
        assert is_at_rest(simulation)

    @pytest.mark.usefixtures("engine")
    def test_two_signals_of_a_workload_whose_answers_come_together_are_decided_in_turn(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        deploy(simulation, "erp-simulator")
        post(anomaly("erp-simulator"), anomaly("erp-simulator", "latency"))
        simulation.pool.held = True
        simulation.run(2)
        assert simulation.pool.under_way == 2

        simulation.pool.held = False
        simulation.run(1, "signal")
        assert (Action.objects.count(), Signal.objects.filter(state=SignalState.PENDING, reason="").count()) == (1, 1)
        simulation.run(2, "signal")

        assert Signal.objects.get(state=SignalState.PENDING).reason == Reason.COOLDOWN_ACTIVE
        assert not [one for one in caplog.records if one.levelno >= logging.WARNING]

    def test_a_target_that_the_cache_lacks_is_read_before_it_is_called_missing(self, simulation: Simulation) -> None:
        deploy(simulation, "a")
        simulation.cluster.deploy("new")  # the cache lags behind
        post(anomaly("new"), anomaly("nowhere"))

        simulation.run(2)

        assert sorted(simulation.calls) == ["read new", "read nowhere"]
        assert states() == {"new": S.APPLYING}
        assert Signal.objects.get(workload="nowhere").reason == Reason.TARGET_NOT_FOUND

    def test_signals_of_a_target_that_does_not_exist_cost_one_read(self, simulation: Simulation) -> None:
        deploy(simulation, "a")
        symptoms = ("resource", "latency", "error")
        post(*(anomaly("nowhere", symptom) for symptom in symptoms), root_cause("nowhere"), anomaly("nobody"))

        simulation.run(6, "signal")

        assert sorted(simulation.calls) == ["read nobody", "read nowhere"]
        assert set(Signal.objects.values_list("state", "reason")) == {(SignalState.DENIED, Reason.TARGET_NOT_FOUND)}

    def test_a_read_that_fails_costs_its_signal_a_delay(self, simulation: Simulation) -> None:
        deploy(simulation)
        simulation.cluster.reads.append(TimedOut("no answer"))
        post(anomaly("new"))

        simulation.run(2)

        found = Signal.objects.get()
        assert (found.state, found.reason, found.errors) == (SignalState.PENDING, Reason.NAMESPACE_UNREADABLE, 0)
        assert "Deployment smartops-dev/new: no answer" in found.message
        assert is_at_rest(simulation)


@pytest.mark.django_db
def test_due_actions_and_due_signals_share_the_room(simulation: Simulation) -> None:
    """Many attempts against an API server that refuses them must not keep the signals waiting."""
    names = [f"w{number}" for number in range(40)]
    deploy(simulation, "a", *names)
    for name in names:
        requested(name)
    post(anomaly("a"))

    simulation.run(1, "pending", "signal")

    assert Signal.objects.get().state == SignalState.ADMITTED
    assert Action.objects.filter(state=S.APPLYING, signal=None).count() == 16


def cut(*where: tuple[Any, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("owner", "name"), where, ids=[name for _, name in where])


class TestAnErrorOfTheDatabase:
    """In the middle of a verb. The verb fails, and its next attempt goes on without having lost anything."""

    def failing_pass(self, simulation: Simulation, *notified: str) -> None:
        simulation.run(1, *notified)
        assert simulation.reconciler.steps.failing

    @cut(
        (Signal, "due"),
        (Workload, "lock_free"),
        (Signal, "lock_due"),
        (admit, "decide"),
        (signal_transitions, "store"),
        (admit, "follow"),
        (transition_store, "create"),
        (queries, "insert"),
    )
    def test_in_admit_leaves_the_signals_due(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        deploy(simulation, "a", "b")
        simulation.run()
        post(anomaly("a"), anomaly("b"))
        fail_once(monkeypatch, owner, name)

        self.failing_pass(simulation, "signal")
        assert is_at_rest(simulation)
        simulation.sweep()
        simulation.run()

        assert states() == {"a": S.VERIFYING, "b": S.VERIFYING}
        assert len(simulation.calls) == 2
        assert DecisionRecord.objects.count() == 2
        assert set(Signal.objects.values_list("errors", flat=True)) == {0}

    def test_in_admit_asks_the_policy_and_the_cache_again(
        self, simulation: Simulation, engine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An outage may last: what was true before it does not count after it."""
        deploy(simulation, "erp-simulator")
        post(anomaly("erp-simulator"))
        simulation.run()
        fail_once(monkeypatch, admit, "decide")
        self.failing_pass(simulation)
        engine["erp-simulator"] = False
        simulation.cluster.change(ERP)
        simulation.observe()

        simulation.sweep()
        simulation.run()

        [decision] = DecisionRecord.objects.all()
        assert decision.reason == Reason.POLICY_DENIED
        assert is_at_rest(simulation)

    def test_in_admit_does_not_decide_twice_on_a_signal(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a", "an unknown symptom"))
        fail_once(monkeypatch, admit, "decide")
        self.failing_pass(simulation)

        simulation.sweep()

        assert DecisionRecord.objects.count() == 1

    @cut((claim, "claim_due"), (transitions, "claim"))
    def test_in_the_claim_leaves_the_actions_due(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        deploy(simulation, "a")
        requested("a")
        fail_once(monkeypatch, owner, name)

        self.failing_pass(simulation)
        simulation.run(3)

        assert states() == {"a": S.VERIFYING}
        assert only_action().attempts == 1

    @cut(
        (Workload, "lock_free"),
        (plan, "decide"),
        (plan, "_transition"),
        (transitions, "plan"),
        (transition_store, "store"),
        (transition_store, "_update_copy"),  # the last step before the commit
    )
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_in_the_check_keeps_the_readings(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
    ) -> None:
        deploy(simulation, "a", "b")
        requested("a")
        requested("b")
        simulation.run()
        fail_once(monkeypatch, owner, name, after=after)

        self.failing_pass(simulation)
        simulation.run(2)

        assert states() == {"a": S.VERIFYING, "b": S.VERIFYING}
        assert simulation.calls == ["read a", "read b", "scale a to 3 at 2", "scale b to 3 at 2"]
        assert set(Action.objects.values_list("attempts", "epoch")) == {(1, 1)}

    @cut(
        (record, "_transition"),
        (transitions, "apply"),
        (Cooldown, "start"),
        (transition_store, "_update_copy"),
    )
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_in_settle_keeps_the_answers(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
    ) -> None:
        deploy(simulation, "a", "b", "c")
        post(anomaly("a"), anomaly("b"), anomaly("c"))
        simulation.cluster.writes.extend([Throttled("slow down"), None, None])
        simulation.run()
        fail_once(monkeypatch, owner, name, after=after)

        self.failing_pass(simulation)
        simulation.run()

        assert sorted(states().values()) == [S.PENDING, S.VERIFYING, S.VERIFYING]
        assert len(simulation.calls) == 3
        assert len(simulation.reconciler.verifications) == 2
        assert is_at_rest(simulation)

    @pytest.mark.django_db(transaction=True)
    def test_after_the_commit_repeats_nothing(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        """The answer to the commit was lost: what is stored already is found in the tables."""
        deploy(simulation, "a")
        post(anomaly("a"))
        simulation.run()
        fail_once(monkeypatch, BaseDatabaseWrapper, "commit", after=True)

        self.failing_pass(simulation)
        assert states() == {"a": S.VERIFYING}
        simulation.sweep()

        assert len(simulation.reconciler.verifications) == 1
        assert only_action().events.count() == 2
        assert is_at_rest(simulation)

    @cut((transitions, "verified"), (transition_store, "_close_and_wake"), (transition_store, "_update_copy"))
    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_in_verify_keeps_the_outcomes(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"))
        simulation.run(2)
        simulation.cluster.roll_out(WorkloadKey(NAMESPACE, "a"))
        simulation.observe()
        simulation.run()
        simulation.clock.advance(5)
        fail_once(monkeypatch, owner, name, after=after)

        self.failing_pass(simulation)
        assert states() == {"a": S.VERIFYING}
        simulation.run()

        assert states() == {"a": S.SUCCEEDED}
        assert is_at_rest(simulation)

    @cut((reclaim, "expire_actions"), (reclaim, "cancel_resolved"), (reclaim, "reclaim"))
    def test_in_reclaim_stops_no_other_verb(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"))
        fail_once(monkeypatch, owner, name)

        simulation.run()

        assert states() == {"a": S.APPLYING}

    def test_between_two_rows_that_are_stored_alone_keeps_only_the_second(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The claim of the first has ended: nothing may hold it any more."""
        deploy(simulation, "a", "b", "c")
        actions = {name: requested(name) for name in "abc"}
        simulation.run()
        simulation.cluster.writes.extend([Throttled("slow down")] * 3)
        simulation.run()
        poison(monkeypatch, record, "_transition", lambda one, *_: one.claim.action.workload.name == "b")
        with monkeypatch.context() as patch:
            fail_once(patch, record, "record_failure")
            self.failing_pass(simulation)

        assert states() == {"a": S.PENDING, "b": S.APPLYING, "c": S.APPLYING}
        assert {one.action.workload.name for one in simulation.reconciler.under_way.claims} == {"b", "c"}
        simulation.run()
        assert (states()["b"], states()["c"]) == (S.NEEDS_REVIEW, S.PENDING)
        assert is_at_rest(simulation)
        assert row(actions["b"]).message == "ValueError: poison"

    def test_between_two_readings_that_are_stored_alone_keeps_only_the_second(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(simulation, "b")
        requested("a")  # has no target: it is cancelled
        requested("b")
        simulation.run()
        poison(monkeypatch, plan, "_transition", lambda one, *_: one.claim.action.workload.name == "b")
        with monkeypatch.context() as patch:
            fail_once(patch, plan, "record_failure")
            self.failing_pass(simulation)

        assert states() == {"a": S.CANCELLED, "b": S.APPLYING}
        assert {one.action.workload.name for one in simulation.reconciler.under_way.claims} == {"b"}
        simulation.run()
        assert states()["b"] == S.FAILED
        assert is_at_rest(simulation)


class TestOneRowThatFails:
    def test_costs_its_own_action_in_record(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        deploy(simulation, "a", "b")
        post(anomaly("a"), anomaly("b"))
        poison(monkeypatch, transitions, "apply", lambda action, *_: action.workload.name == "a")

        simulation.run(2)

        assert states() == {"a": S.NEEDS_REVIEW, "b": S.VERIFYING}
        assert is_at_rest(simulation)

    def test_costs_its_own_action_in_plan(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        deploy(simulation, "a", "b")
        requested("a")
        requested("b")
        poison(monkeypatch, transitions, "plan", lambda action, *_: action.workload.name == "a")

        simulation.run(3)

        assert states() == {"a": S.FAILED, "b": S.VERIFYING}
        assert is_at_rest(simulation)

    def test_costs_its_own_signal_in_admit(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        deploy(simulation, "a", "b")
        post(anomaly("a"), anomaly("b"))
        poison(monkeypatch, admit, "follow", lambda action, *_: action.workload.name == "a")

        simulation.run(2)

        assert states() == {"b": S.VERIFYING}
        assert Signal.objects.get(workload="a").errors == 1

    def test_costs_its_own_action_in_claim(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        deploy(simulation, "a", "b")
        bad, _ = requested("a"), requested("b")
        with monkeypatch.context() as patch:
            poison(patch, transitions, "claim", lambda action, _: action.workload.name == "a")
            simulation.run(3)

        assert states() == {"a": S.PENDING, "b": S.VERIFYING}
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
            f"action {bad.pk} could not be claimed; it is tried again in 0:00:30"
        ]
        Action.objects.filter(pk=bad.pk).update(not_before=Now())
        simulation.sweep()
        simulation.run(2)
        assert states() == {"a": S.VERIFYING, "b": S.VERIFYING}

    def test_costs_its_own_signal_where_its_name_is_resolved(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"), anomaly("b"))
        poison(monkeypatch, admit, "_named", lambda candidate, _: candidate.signal.workload == "b")

        simulation.run(2)

        assert states() == {"a": S.VERIFYING}
        assert Signal.objects.get(workload="b").errors == 1


def defective(verb: str) -> Callable[[], None]:
    def fail() -> None:
        raise ValueError("a defect")

    fail.__qualname__ = f"Reconciler.{verb}"
    return fail


VERBS = ("_plan", "_claim", "_admit", "_record", "_verify")


class TestOneVerbThatFails:
    """Every time, by a defect or by its own statement."""

    @pytest.mark.parametrize("error", [ValueError("a defect"), OperationalError("deadlock detected")], ids=repr)
    @pytest.mark.parametrize("failing", VERBS)
    def test_keeps_no_other_from_its_work(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, failing: str, error: Exception
    ) -> None:
        simulation.run()
        begun = self.verbs(simulation, monkeypatch, failing, error)

        simulation.run()

        assert begun == [*VERBS]
        assert list(simulation.reconciler.steps.failing) == [failing.strip("_")]

    def test_is_tried_again_at_longer_and_longer_intervals(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.run()
        begun = self.verbs(simulation, monkeypatch, "_admit", ValueError("a defect"))

        for _ in range(10):
            simulation.sweep()

        assert (begun.count("_admit"), begun.count("_verify")) == (5, 10)

    def test_is_what_a_loop_that_is_not_ready_names(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.observe()
        simulation.run()
        assert simulation.reconciler.readiness.problems() == []
        with monkeypatch.context() as patch:
            self.verbs(simulation, patch, "_admit", ValueError("a defect"))
            for _ in range(31):
                simulation.sweep()

        assert simulation.reconciler.readiness.alive
        assert simulation.reconciler.readiness.problems() == [
            "no pass of the control loop has succeeded for 31 s (admit: ValueError)"
        ]
        simulation.clock.advance(10)
        simulation.run()
        assert simulation.reconciler.readiness.problems() == []

    @pytest.mark.parametrize("failing", ["_plan", "_record"])
    def test_takes_on_nothing_more_while_answers_cannot_be_recorded(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        deploy(simulation, "a")
        with monkeypatch.context() as patch:
            patch.setattr(simulation.reconciler, failing, defective(failing))
            simulation.run(2)
            post(anomaly("a"))
            requested("b")
            simulation.run(2, "signal", "pending")
            assert (simulation.calls, Signal.objects.get().state) == ([], SignalState.PENDING)

        simulation.clock.advance(10)
        simulation.run(2)
        assert Signal.objects.get().state == SignalState.ADMITTED

    def test_writes_nothing_that_was_asked_or_read_while_answers_cannot_be_recorded(
        self, simulation: Simulation, engine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deploy(simulation, "a", "b")
        post(anomaly("a"))
        requested("b")
        simulation.run()
        simulation.pool.held = True
        with monkeypatch.context() as patch:
            patch.setattr(simulation.reconciler, "_record", defective("_record"))
            simulation.run()
            simulation.pool.held = False
            simulation.run(4)
        assert simulation.calls == ["read b"]
        engine["a"] = False  # what was true before does not count after it

        simulation.clock.advance(10)
        simulation.run(4)

        assert states() == {"b": S.VERIFYING}
        assert Signal.objects.get().state == SignalState.DENIED
        assert is_at_rest(simulation)

    @cut(
        (reclaim, "reclaim"),
        (reclaim, "cancel_resolved"),
        (approvals, "waiting"),
        (verify.Verifications, "load"),
        (claim, "claim_due"),
    )
    def test_succeeds_when_it_has_nothing_to_do_any_more(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
    ) -> None:
        deploy(simulation, "a")
        simulation.run()
        with monkeypatch.context() as patch:
            patch.setattr(reclaim, "active_states", lambda _: S.values)
            patch.setattr(simulation.reconciler, "_room", lambda: 0)  # only direct actions have room
            patch.setattr(owner, name, raising(OperationalError("the session was lost")))
            simulation.sweep()
            assert len(simulation.reconciler.steps.failing) == 1

        for _ in range(3):
            simulation.sweep()

        assert simulation.reconciler.steps.failing == {}

    def test_of_another_class_is_named_with_it(self, simulation: Simulation, caplog: pytest.LogCaptureFixture) -> None:
        steps, store = simulation.reconciler.steps, simulation.reconciler.sweep.snapshot.store
        assert not steps.fails(store)

        steps.run(store)  # without its argument

        assert steps.fails(store)
        assert [*steps.failing] == ["Snapshot.store"]
        assert caplog.messages == ["control loop: step Snapshot.store failed; it is repeated in the next pass"]

    def verbs(self, simulation: Simulation, patch: pytest.MonkeyPatch, failing: str, error: Exception) -> list[str]:
        """Which of them have begun, in their order."""
        begun = list[str]()

        def replaced(name: str) -> Callable[..., int]:
            def verb(*_: object) -> int:
                begun.append(name)
                if name == failing:
                    raise error
                return 0

            verb.__qualname__ = f"Reconciler.{name}"
            return verb

        for name in VERBS:
            patch.setattr(simulation.reconciler, name, replaced(name))
        return begun


class TestACallThatRaises:
    """With an error that a call does not expect, as SystemExit or MemoryError. The loop gets an answer."""

    @pytest.fixture(autouse=True, params=[SystemExit(1), MemoryError(), ValueError("a defect")], ids=repr)
    def error(self, request: pytest.FixtureRequest) -> BaseException:
        found: BaseException = request.param
        return found

    def test_in_a_write_leaves_its_action_to_a_review(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"))
        monkeypatch.setattr(calls, "write", raising(error))

        simulation.run(2)

        assert states() == {"a": S.NEEDS_REVIEW}
        assert is_at_rest(simulation)

    def test_in_a_read_ends_its_action(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        deploy(simulation, "a")
        requested("a")
        monkeypatch.setattr(calls, "read", raising(error))

        simulation.run(2)

        assert states() == {"a": S.FAILED}
        assert only_action().reason == Reason.PROCESSING_ERROR
        assert is_at_rest(simulation)

    @pytest.mark.usefixtures("engine")
    def test_in_a_question_costs_its_signal_a_delay(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"))
        with monkeypatch.context() as patch:
            patch.setattr(calls, "look_up", raising(error))
            simulation.run(2)
        assert Signal.objects.get().errors == 1
        assert is_at_rest(simulation)

        Signal.objects.update(not_before=Now())
        simulation.sweep()
        simulation.run()
        assert Signal.objects.get().state == SignalState.ADMITTED

    def test_in_a_confirmation_is_followed_by_another_one(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch, error: BaseException
    ) -> None:
        deploy(simulation, "a")
        post(anomaly("a"))
        simulation.run(2)
        simulation.cluster.deployments.clear()
        simulation.observe()
        with monkeypatch.context() as patch:
            patch.setattr(calls, "confirm", raising(error))
            simulation.run(2)
        assert states() == {"a": S.VERIFYING}

        simulation.clock.advance(verify.READ_AGAIN)
        simulation.run(2)
        assert states() == {"a": S.FAILED}


def raising(error: BaseException) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


@pytest.mark.django_db(transaction=True)
class TestTheEnd:
    """On threads of their own, with a real pool."""

    @pytest.fixture
    def reconciler(self, simulation: Simulation) -> Iterator[Reconciler]:
        found = Reconciler(simulation.cluster.cluster, "default", [NAMESPACE], workers=2)
        yield found
        found.stop()

    def test_stop_records_the_answers_of_the_writes_under_way(
        self, simulation: Simulation, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        simulation.cluster.deploy("b")
        post(anomaly("a"))
        write = simulation.cluster._write

        def stops(*args: Any, **options: Any) -> Any:
            reconciler.stop()
            post(anomaly("b"))  # nothing new begins
            return write(*args, **options)

        monkeypatch.setattr(type(simulation.cluster), "_write", lambda _, *args, **options: stops(*args, **options))

        reconciler.run()

        assert states() == {"a": S.VERIFYING}
        assert Signal.objects.get(workload="b").state == SignalState.PENDING
        assert reconciler.under_way.claims == set()

    def test_a_stop_in_the_wait_for_work_begins_nothing(
        self, simulation: Simulation, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")

        def stops() -> float:
            post(anomaly("a"))
            reconciler.stop()
            return 1.0

        monkeypatch.setattr(reconciler, "_patience", stops)  # asked at the beginning of the wait

        reconciler.run()

        assert Signal.objects.get().state == SignalState.PENDING

    def test_stop_records_an_answer_although_the_database_fails_once(
        self, simulation: Simulation, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        post(anomaly("a"))
        write = simulation.cluster._write

        def stops(*args: Any, **options: Any) -> Any:
            reconciler.stop()
            fail_once(monkeypatch, record, "record")
            return write(*args, **options)

        monkeypatch.setattr(type(simulation.cluster), "_write", lambda _, *args, **options: stops(*args, **options))

        reconciler.run()

        assert states() == {"a": S.VERIFYING}

    def test_drain_ends_when_nothing_is_due_and_nothing_is_under_way(
        self, simulation: Simulation, reconciler: Reconciler
    ) -> None:
        simulation.cluster.deploy("a", replicas=2)
        post(anomaly("a", "an unknown symptom"), anomaly("nowhere"))
        requested("a", dry_run=True)

        reconciler.run(drain=True)

        assert not Signal.objects.filter(closed_at=None).exists()
        assert states() == {"a": S.SUCCEEDED}

    def test_drain_goes_on_with_a_signal_that_changed_while_it_was_decided_on(
        self, simulation: Simulation, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        post(anomaly("a"))
        decide = admit.admit

        def changes(candidates: Any, actor: str) -> Any:
            monkeypatch.setattr(admit, "admit", decide)
            post(anomaly("a", score=0.1))
            return decide(candidates, actor)

        monkeypatch.setattr(admit, "admit", changes)
        monkeypatch.setattr("orchestrator.reconciler.loop.POLL", 3 * PATIENCE)  # no sweep comes to its help

        reconciler.run(drain=True)

        assert Signal.objects.get().state == SignalState.IGNORED

    def test_drain_outlives_a_database_that_fails_between_two_rows(
        self, simulation: Simulation, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "ab":
            simulation.cluster.deploy(name)
            requested(name, dry_run=True)
        poison(monkeypatch, record, "_transition", lambda one, *_: one.claim.action.workload.name == "b")
        fail_once(monkeypatch, record, "record_failure")

        with ThreadPoolExecutor(1) as thread:
            ends = thread.submit(reconciler.run, drain=True)
            try:
                ends.result(timeout=PATIENCE)
            finally:
                reconciler.stop()

        assert states() == {"a": S.SUCCEEDED, "b": S.NEEDS_REVIEW}

    def test_a_pool_finishes_the_calls_that_have_begun_and_makes_no_others(self) -> None:
        arrived: list[int] = []
        pool, begun, go_on = ThreadPool(1, lambda: arrived.append(pool.under_way)), Event(), Event()
        pool.start()
        pool.submit(lambda: begun.set() or go_on.wait(PATIENCE), str)  # type: ignore[func-returns-value]
        pool.submit(lambda: "a write", str)
        assert begun.wait(PATIENCE)
        Timer(0.1, go_on.set).start()
        pool.close()

        assert list(pool.answers()) == [True]
        assert (pool.under_way, len(arrived)) == (1, 1)


def test_a_claim_outlives_its_lease_while_its_own_process_works_on_it(simulation: Simulation) -> None:
    """Its write may be under way: to take it over would be to send another copy at the same time."""
    deploy(simulation, "a")
    post(anomaly("a"))
    simulation.pool.held = True
    simulation.run()
    Action.objects.update(lease_until=Now() - timedelta(seconds=1))

    simulation.sweep()
    assert only_action().epoch == 1
    simulation.pool.held = False
    simulation.run()

    assert states() == {"a": S.VERIFYING}
    assert only_action().epoch == 1


def test_a_pass_leaves_a_heartbeat_every_five_seconds(simulation: Simulation) -> None:
    def last() -> datetime:
        return Heartbeat.objects.get(cluster="default").passed_at

    simulation.run()
    first = last()
    simulation.run()
    assert last() == first
    simulation.clock.advance(5)
    simulation.run()
    assert last() > first


def test_a_pass_that_finds_no_database_leaves_no_heartbeat(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError from PoolTimeout("no session within 5 s")

    monkeypatch.setattr(simulation.reconciler, "_record", fail)
    with pytest.raises(OperationalError):
        simulation.run()
    assert not Heartbeat.objects.exists()


def test_a_reconciler_deletes_windows_that_recognize_no_repeat(simulation: Simulation) -> None:
    post(anomaly("a", firing=False))
    wait(86_401)
    post(anomaly("a", firing=False))

    simulation.reconciler.run_once()

    assert Window.objects.count() == 1
