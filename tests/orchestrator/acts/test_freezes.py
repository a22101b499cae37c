"""Freeze and lift: what is held, what starts again, and from when on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.acts import Done, NotDone, WhyNot
from orchestrator.acts.cooldowns import clear_cooldown
from orchestrator.acts.freezes import FreezeScope, freeze, hold, lift, would_hold, would_start
from orchestrator.models import Action, ActionState, transition_store, transitions
from orchestrator.reconciler import admit, wake
from signals import actors
from signals.models import SettingChange, Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Kind, Target
from tests.kit.patience import PATIENCE
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Simulation
from tests.kit.threads import at_once
from tests.kit.verbs import claim, requested, row

OLGA = actors.user("olga")
ERP = Target("default", NAMESPACE, "erp-simulator")
EVERYTHING, WORKLOAD = FreezeScope(), FreezeScope.of(ERP)


def holds_of(target: Target) -> list[Freeze]:
    return [row for row in Freeze.in_force() if FreezeScope.of_freeze(row) == FreezeScope.of(target)]


def frozen(scope: FreezeScope = EVERYTHING, lasts: timedelta | None = None) -> Freeze:
    assert isinstance(freeze(scope, lasts, OLGA, "a release"), Done)
    return Freeze.objects.latest("pk")


def waiting(name: str, reason: Reason = Reason.FROZEN, **terms: Any) -> Action:
    """An action of the closed loop that a guardrail holds back."""
    post(anomaly(name))
    action = requested(name, signal=Signal.objects.latest("pk"), **terms)
    claim(action, "reconciler:test")
    transition_store.store(
        [transitions.put_back(action, reason, "It waits.", 3600.0, "reconciler:test", ambiguous=False)]
    )
    return action


def deferred(name: str, reason: Reason = Reason.FROZEN) -> Signal:
    post(anomaly(name))
    signal = Signal.objects.latest("pk")
    Signal.objects.filter(pk=signal.pk).update(reason=reason, not_before=timezone.now() + timedelta(hours=1))
    return signal


class TestScope:
    @pytest.mark.parametrize(
        ("scope", "name", "is_wide"),
        [
            (FreezeScope(), "everything", True),
            (FreezeScope(cluster="c"), "cluster c", True),
            (FreezeScope("c", "StatefulSet"), "cluster c, StatefulSets", True),
            (FreezeScope("c", "", "shop"), "cluster c, namespace shop", False),
            (FreezeScope("c", "Deployment", "shop", "web"), "cluster c, Deployment shop/web", False),
        ],
    )
    def test_a_scope_has_a_name_and_may_be_wide(self, scope: FreezeScope, name: str, is_wide: bool) -> None:
        assert (scope.name, scope.is_wide) == (name, is_wide)


@pytest.mark.django_db
class TestFreeze:
    @pytest.mark.parametrize("lasts", [timedelta(minutes=15), None])
    def test_a_freeze_names_the_person_the_reason_and_the_end(self, lasts: timedelta | None) -> None:
        row = frozen(WORKLOAD, lasts)
        change = SettingChange.objects.get(table_name="guardrails_freeze")
        assert (row.by, row.reason, change.actor, change.reason) == (OLGA, "a release", OLGA, "a release")
        if lasts is None:
            assert row.until is None
        else:
            assert row.until is not None
            assert abs(row.until - row.created_at - lasts) < timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("scope", "reason", "why"),
        [
            (EVERYTHING, "", WhyNot.REASON),
            (EVERYTHING, " ", WhyNot.REASON),
            (EVERYTHING, "x" * 257, WhyNot.REASON),
            (FreezeScope(workload="web"), "a release", WhyNot.INVALID),
            (FreezeScope(namespace="Not A Name"), "a release", WhyNot.INVALID),
            (FreezeScope(kind="Pod"), "a release", WhyNot.INVALID),
        ],
    )
    def test_what_is_no_scope_or_has_no_reason_freezes_nothing(
        self, scope: FreezeScope, reason: str, why: WhyNot
    ) -> None:
        outcome = freeze(scope, None, OLGA, reason)
        assert isinstance(outcome, NotDone)
        assert (outcome.why, Freeze.objects.count()) == (why, 0)

    def test_a_hold_is_a_freeze_of_exactly_that_workload(self) -> None:
        frozen(FreezeScope(namespace=NAMESPACE))
        hold(ERP, timedelta(hours=1), OLGA, "I look at it.")
        [found] = holds_of(ERP)
        assert (found.cluster, found.kind, found.namespace, found.workload) == (
            "default", "Deployment", NAMESPACE, "erp-simulator",
        )  # fmt: skip
        assert not holds_of(replace(ERP, kind=Kind.STATEFUL_SET))

    def test_a_freeze_is_lifted_once(self) -> None:
        row = frozen()
        assert isinstance(lift(row.pk, OLGA, "The release is done."), Done)
        again, gone = lift(row.pk, actors.user("ana"), "Me too."), lift(row.pk + 1, OLGA, "The release is done.")
        assert isinstance(again, NotDone)
        assert isinstance(gone, NotDone)
        assert (again.why, again.message) == (
            WhyNot.CHANGED, "user:olga has lifted the freeze of everything already: The release is done.",
        )  # fmt: skip
        assert gone.why is WhyNot.GONE
        row.refresh_from_db()
        assert (row.lifted_by, row.lift_reason) == (OLGA, "The release is done.")

    def test_a_lift_needs_a_reason(self) -> None:
        outcome = lift(frozen().pk, OLGA, "")
        assert isinstance(outcome, NotDone)
        assert (outcome.why, Freeze.in_force().count()) == (WhyNot.REASON, 1)


@pytest.mark.django_db
class TestWhatIsHeld:
    def test_the_rows_that_wait_in_the_scope_are_those_that_are_counted(self) -> None:
        post(anomaly("a"), anomaly("b"), anomaly("c"))
        signals = {one.workload: one for one in Signal.objects.all()}
        Signal.objects.filter(workload="c").update(state="ignored", closed_at=timezone.now())
        loop, direct = requested("a", signal=signals["a"]), requested("b")
        claim(requested("c"), "reconciler:test")  # its change is being written: it goes on

        effect = would_hold(EVERYTHING)
        assert {one.workload for one in effect.signals} == {"a", "b"}
        assert ([*effect.waiting], [*effect.direct]) == ([loop], [direct])

        one_workload = would_hold(FreezeScope("default", "Deployment", NAMESPACE, "a"))
        assert {one.workload for one in one_workload.signals} == {"a"}
        assert ([*one_workload.waiting], [*one_workload.direct]) == ([loop], [])

        for elsewhere in (FreezeScope("another"), FreezeScope("", "StatefulSet"), FreezeScope(namespace="another")):
            nothing = would_hold(elsewhere)
            assert [*nothing.signals, *nothing.waiting, *nothing.direct] == []

    def test_a_name_that_stands_for_no_workload_is_in_no_scope(self) -> None:
        deferred("somebody", Reason.TARGET_UNIDENTIFIED)
        assert not would_hold(EVERYTHING).signals

    def test_a_lift_starts_what_no_other_freeze_covers(self) -> None:
        alone, covered = deferred("a"), deferred("b")
        deferred("c", Reason.COOLDOWN_ACTIVE)
        action = waiting("d")
        waiting("e", Reason.CLUSTER_UNREACHABLE)
        other = waiting("f")
        everything = frozen()
        frozen(FreezeScope.of(covered.target))
        frozen(FreezeScope.of(other.workload.target))

        effect = would_start(everything)

        assert ([*effect.signals], [*effect.waiting], [*effect.direct]) == ([alone], [action], [])
        assert not would_start(frozen(FreezeScope("another"))).signals


@pytest.mark.django_db
class TestCooldown:
    def cooldown(self) -> Cooldown:
        Cooldown.start([(ERP, ActionType.SCALE, 300)])
        return Cooldown.objects.get()

    def test_a_cooldown_is_cleared_under_the_name_of_the_person(self) -> None:
        row = self.cooldown()
        assert isinstance(clear_cooldown(row.pk, row.until, OLGA, "The cause is gone."), Done)
        change = SettingChange.objects.filter(table_name="guardrails_cooldown").latest("id")
        assert (change.operation, change.actor, change.reason) == ("delete", OLGA, "The cause is gone.")

    def test_a_cooldown_that_has_begun_again_is_another_one(self) -> None:
        row = self.cooldown()
        self.cooldown()
        outcome = clear_cooldown(row.pk, row.until, OLGA)
        assert isinstance(outcome, NotDone)
        assert (outcome.why, Cooldown.objects.count()) == (WhyNot.CHANGED, 1)

    def test_a_cooldown_that_was_cleared_is_gone(self) -> None:
        row = self.cooldown()
        clear_cooldown(row.pk, row.until, OLGA)
        outcome = clear_cooldown(row.pk, row.until, OLGA)
        assert isinstance(outcome, NotDone)
        assert outcome.why is WhyNot.GONE


@pytest.fixture
def simulation(transactional_db: None) -> Simulation:
    install_default_rules()
    GuardrailSetting.objects.create(stabilization_seconds=5)
    simulation = Simulation()
    simulation.cluster.deploy("erp-simulator")
    simulation.observe()
    return simulation


def not_before(row: Signal | Action) -> datetime:
    row.refresh_from_db()
    return row.not_before


class TestWhenItIsInForce:
    """With the passes of a reconciler, which are a second apart."""

    def test_a_freeze_holds_the_next_decision(self, simulation: Simulation) -> None:
        post(anomaly("erp-simulator"))
        frozen(WORKLOAD)
        simulation.sweep()
        signal = Signal.objects.get()
        assert (signal.state, signal.reason) == (SignalState.PENDING, Reason.FROZEN)
        assert [*would_start(Freeze.objects.get()).signals] == [signal]

    def test_a_freeze_holds_an_action_that_waits_and_refuses_a_direct_one(self, simulation: Simulation) -> None:
        simulation.cluster.deploy("erp-b")
        simulation.observe()
        post(anomaly("erp-simulator"))
        loop, direct = requested("erp-simulator", signal=Signal.objects.get()), requested("erp-b")
        frozen()
        simulation.run(4)
        assert (row(loop).state, row(loop).reason) == (ActionState.PENDING, Reason.FROZEN)
        assert (row(direct).state, row(direct).reason) == (ActionState.CANCELLED, Reason.FROZEN)

    def test_a_signal_runs_with_the_first_pass_after_the_lift(self, simulation: Simulation) -> None:
        post(anomaly("erp-simulator"))
        held = frozen(WORKLOAD, timedelta(hours=4))
        simulation.sweep()
        lift(held.pk, OLGA, "The release is done.")
        simulation.sweep()
        assert Signal.objects.get().state == SignalState.ADMITTED

    def test_an_action_is_due_with_the_first_pass_after_the_lift(self, simulation: Simulation) -> None:
        action, held = waiting("erp-simulator"), frozen(WORKLOAD, timedelta(hours=4))
        simulation.sweep()
        assert not_before(action) > timezone.now()
        lift(held.pk, OLGA, "The release is done.")
        simulation.sweep()
        assert row(action).state == ActionState.APPLYING

    def test_what_another_freeze_covers_stays(self, simulation: Simulation) -> None:
        action, signal = waiting("erp-simulator"), deferred("erp-b")
        held = frozen()
        frozen(FreezeScope(namespace=NAMESPACE))
        simulation.sweep()
        lift(held.pk, OLGA, "The release is done.")
        Signal.objects.filter(pk=signal.pk).update(not_before=timezone.now() + timedelta(hours=1))
        simulation.sweep()
        assert not_before(action) > timezone.now()
        assert not_before(signal) > timezone.now()

    @pytest.mark.parametrize("settings", ["freeze", "cooldown"])
    def test_a_decision_that_is_made_during_the_lift_is_made_again(self, simulation: Simulation, settings: str) -> None:
        """The lift does not see the deferral, which is not committed, and the decision has read the freeze."""
        if settings == "freeze":
            held = frozen(WORKLOAD, timedelta(hours=4))
            end: Callable[[], object] = lambda: lift(held.pk, OLGA, "The release is done.")  # noqa: E731
        else:
            Cooldown.start([(ERP, ActionType.SCALE, 3600)])
            cooldown = Cooldown.objects.get()
            end = lambda: clear_cooldown(cooldown.pk, cooldown.until, OLGA)  # noqa: E731
        simulation.sweep()
        post(anomaly("erp-simulator"))
        decided, ended = Event(), Event()

        def decide() -> None:
            candidates, _ = admit.due("default", 10, (), simulation.reconciler.cache.observe)
            with transaction.atomic():
                admit.admit(candidates, "reconciler:test")
                decided.set()
                assert ended.wait(PATIENCE)

        def change() -> None:
            assert decided.wait(PATIENCE)
            assert isinstance(end(), Done)
            ended.set()

        at_once([decide, change])
        assert not_before(Signal.objects.get()) > timezone.now() + timedelta(minutes=30)

        simulation.sweep()
        assert Signal.objects.get().state == SignalState.ADMITTED

    def test_more_rows_than_one_pass_wakes_are_woken_by_the_next(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wake, "BATCH", 2)
        held = frozen()
        actions = [waiting(f"erp-{number}") for number in range(3)]
        simulation.sweep()
        lift(held.pk, OLGA, "The release is done.")
        seen = simulation.reconciler.waker._settings
        assert wake.wake_freed("default", seen) is None
        assert isinstance(wake.wake_freed("default", None), int)
        assert all(not_before(one) <= timezone.now() for one in actions)
