"""What got stuck is due again, or ends."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Cooldown
from orchestrator.k8s.sync import Delays
from orchestrator.models import Action, ActionState, transition_store, transitions
from orchestrator.reconciler import reclaim as reclaim_verb
from orchestrator.reconciler import wake
from orchestrator.reconciler.claim import claim_due
from orchestrator.reconciler.reclaim import (
    FORGOTTEN_AFTER,
    cancel_resolved,
    expire_actions,
    expire_signals,
    reclaim,
    report_unattended,
)
from orchestrator.reconciler.wake import wake_freed, wake_unread
from signals import transitions as signal_transitions
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from tests.kit.history import rewritable
from tests.kit.signals import NAMESPACE, anomaly, delayed, post
from tests.kit.simulation import SimulatedCluster, Simulation
from tests.kit.threads import at_once
from tests.kit.verbs import lease_ends, poison, requested, row

pytestmark = pytest.mark.usefixtures("rules")
S = ActionState
cluster = SimulatedCluster()
LIVE = cluster.deployments[cluster.deploy("erp-simulator")]
PAST = Now() - timedelta(seconds=1)


def claimed(name: str = "erp-simulator", *, planned: bool = False, **fields: Any) -> Action:
    action = requested(name, **fields)
    [claim] = [one for one in claim_due("default", 100, "reconciler:first") if one.action.pk == action.pk]
    if planned:
        transition_store.store([transitions.plan(claim.action, LIVE, {"replicas": 3}, 1, "reconciler:first")])
    return claim.action


def of_signal(name: str, **fields: Any) -> Action:
    [receipt] = post(anomaly(name))
    return requested(name, signal=Signal.objects.get(pk=receipt.signal_id), **fields)


def outcome(action: Action) -> tuple[str, str]:
    found = row(action)
    return found.state, found.reason


def test_only_an_action_whose_lease_has_ended_is_reclaimed() -> None:
    ended, held, alive, elsewhere = (claimed(name) for name in "abcd")
    lease_ends(ended, held, elsewhere)
    with rewritable(Action):
        Action.objects.filter(pk=elsewhere.pk).update(cluster="other")

    claims = reclaim("default", "reconciler:second", {held.pk})

    assert [claim.action.pk for claim in claims] == [ended.pk]
    assert [row(one).epoch for one in (ended, held, alive, elsewhere)] == [2, 1, 1, 1]
    assert (row(ended).attempts, row(ended).moved_by) == (2, "reconciler:second")
    lease_until = row(ended).lease_until
    assert lease_until is not None
    assert lease_until > row(ended).updated_at


def test_no_more_are_reclaimed_than_there_is_room_for() -> None:
    actions = [claimed(name) for name in "abc"]
    lease_ends(*actions)

    assert len(reclaim("default", "reconciler:second", limit=2)) == 2
    assert len(reclaim("default", "reconciler:second", limit=2)) == 1
    assert reclaim("default", "reconciler:second") == []


@pytest.mark.parametrize("planned", [True, False])
def test_a_planned_change_may_have_been_written_by_its_former_holder(planned: bool) -> None:
    action = claimed(planned=planned)
    lease_ends(action)

    [claim] = reclaim("default", "reconciler:second")

    assert claim.ambiguous is row(action).ambiguous is planned
    assert row(action).planned_resource_version == (LIVE.resource_version if planned else "")


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_one_reclaims_an_action() -> None:
    actions = [claimed(name, planned=True) for name in "abcdef"]
    lease_ends(*actions)

    def one(actor: str) -> list[Any]:
        return [claim.action.pk for claim in reclaim("default", actor)]

    found = at_once([lambda: one("reconciler:second"), lambda: one("reconciler:third")])

    assert sorted(found[0] + found[1]) == sorted(action.pk for action in actions)
    assert set(Action.objects.values_list("epoch", flat=True)) == {2}


def test_an_action_of_a_namespace_that_has_not_synced_is_reclaimed_later() -> None:
    action = claimed()
    lease_ends(action)
    assert reclaim("default", "reconciler:second", delays=delayed(smartops_dev=10.0)) == []

    Action.objects.update(lease_until=Now() - timedelta(seconds=11))
    assert len(reclaim("default", "reconciler:second", delays=delayed(smartops_dev=10.0))) == 1


@pytest.mark.parametrize(
    ("delays", "resumed"),
    [
        ({}, {"a", "c"}),
        (delayed(another=10.0), {"a", "c"}),
        ({("*", Kind.STATEFUL_SET): 10.0, (NAMESPACE, Kind.DAEMON_SET): 10.0}, {"a", "c"}),
        ({(NAMESPACE, Kind.DEPLOYMENT): 10.0}, set()),
        ({("*", Kind.DEPLOYMENT): 10.0}, set()),
        (delayed(everywhere=10.0), set()),
    ],
)
def test_what_waited_for_a_list_is_due_when_it_can_be_read(delays: Delays, resumed: set[str]) -> None:
    unreadable, frozen = claimed("a"), claimed("b")
    post(anomaly("c"), anomaly("d"))
    for action, reason in ((unreadable, Reason.NAMESPACE_UNREADABLE), (frozen, Reason.FROZEN)):
        transition_store.store([transitions.put_back(action, reason, "Wait.", 60, "reconciler:test", ambiguous=False)])
    later = timezone.now() + timedelta(seconds=60)
    for name, reason in (("c", Reason.NAMESPACE_UNREADABLE), ("d", Reason.FROZEN)):
        signal_transitions.store([signal_transitions.defer(Signal.objects.get(workload=name), reason, "Wait.", later)])

    wake_unread("default", delays)

    due = {one.workload.name for one in Action.objects.filter(not_before__lte=Now()).select_related("workload")}
    due |= set(Signal.objects.filter(not_before__lte=Now()).values_list("workload", flat=True))
    assert due == resumed


def test_the_next_pass_wakes_what_is_more_than_a_batch(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "BATCH", 2)
    names = ("a", "b", "c")
    post(*(anomaly(name) for name in names))
    later = timezone.now() + timedelta(seconds=60)
    for signal in Signal.objects.all():
        waits = signal_transitions.defer(signal, Reason.NAMESPACE_UNREADABLE, "Wait.", later)
        signal_transitions.store([waits])
    simulation.observe()

    for woken in (2, 3):
        simulation.reconciler.waker.on_new_lists()
        assert Signal.objects.filter(not_before__lte=Now()).count() == woken


def test_a_cooldown_that_goes_on_keeps_its_signal_waiting() -> None:
    post(anomaly("a"), anomaly("b"))
    later = timezone.now() + timedelta(seconds=60)
    for signal in Signal.objects.all():
        signal_transitions.store([signal_transitions.defer(signal, Reason.COOLDOWN_ACTIVE, "Wait.", later)])
    Cooldown.start([(Target("default", NAMESPACE, "a"), "RESTART", 60)])

    wake_freed("default", None)

    assert list(Signal.objects.filter(not_before__lte=Now()).values_list("workload", flat=True)) == ["b"]


def test_a_forgotten_signal_says_what_it_waited_for() -> None:
    post(anomaly("a"), anomaly("b"))
    later = timezone.now() + timedelta(days=2)
    waiting = Signal.objects.get(workload="a")
    signal_transitions.store([signal_transitions.defer(waiting, Reason.NAMESPACE_UNREADABLE, "No rights.", later)])
    Signal.objects.update(last_seen_at=Now() - timedelta(days=1))

    expire_signals()

    forgotten = "No reconciler of the cluster “default” decided on it within a day."
    assert dict(Signal.objects.values_list("workload", "message")) == {
        "a": f"{forgotten} Before that: No rights.",
        "b": forgotten,
    }


def test_what_no_reconciler_of_another_cluster_takes_up_says_so_and_is_still_due() -> None:
    names = {"ours": "default", "theirs": "typo", "young": "typo", "frozen": "typo"}
    for name, of in names.items():
        post(anomaly(name, target=Target(of, NAMESPACE, name)))
        action = requested(name)
        with rewritable(Action):
            Action.objects.filter(pk=action.pk).update(cluster=of)
    late = Now() - timedelta(seconds=61)
    for table, name in ((Signal, "workload"), (Action, "workload__name")):
        table.objects.exclude(**{name: "young"}).update(not_before=late)
        table.objects.filter(**{name: "frozen"}).update(reason=Reason.FROZEN)

    report_unattended("default")

    message = "No reconciler of the cluster “typo” has taken it up within a minute. Start one with --cluster typo."
    for table, name in ((Signal, "workload"), (Action, "workload__name")):
        found = {one[0]: one[1:] for one in table.objects.values_list(name, "reason", "message")}
        assert found.pop("theirs") == (Reason.NO_RECONCILER, message)
        assert {name: reason for name, (reason, _) in found.items()} == {"ours": "", "young": "", "frozen": "Frozen"}
    assert "theirs" in [one.workload for one in Signal.due("typo", 9)]
    assert "theirs" in [claim.action.workload.name for claim in claim_due("typo", 9, "reconciler:test")]


def test_what_nobody_took_up_in_time_is_cancelled() -> None:
    late, young, ambiguous, elsewhere = (requested(name) for name in "abcd")
    Action.objects.exclude(pk=young.pk).update(deadline_at=PAST)
    Action.objects.filter(pk=ambiguous.pk).update(ambiguous=True)
    with rewritable(Action):
        Action.objects.filter(pk=elsewhere.pk).update(cluster="a cluster without a reconciler")

    expire_actions("reconciler:test")

    assert [outcome(one) for one in (late, young, ambiguous, elsewhere)] == [
        (S.CANCELLED, Reason.ACTION_EXPIRED),
        (S.PENDING, ""),
        (S.PENDING, ""),
        (S.CANCELLED, Reason.ACTION_EXPIRED),
    ]
    assert row(late).message == "No reconciler of the cluster “default” took it up in time."


def test_an_action_that_was_retried_until_its_deadline_keeps_the_reason_in_its_message() -> None:
    action = claimed()
    transition_store.store(
        [transitions.put_back(action, Reason.CLUSTER_UNREACHABLE, "no route", 1, "reconciler:first", ambiguous=False)]
    )
    Action.objects.update(deadline_at=PAST)

    expire_actions("reconciler:test")

    assert (outcome(action), row(action).message) == ((S.CANCELLED, Reason.ACTION_EXPIRED), "no route")


def test_a_review_that_nobody_made_counts_as_applied() -> None:
    action = claimed(planned=True)
    transition_store.store([transitions.require_review(action, "Was it applied?", "reconciler:first")])
    expire_actions("reconciler:test")
    assert outcome(action) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)

    Action.objects.update(deadline_at=PAST)
    expire_actions("reconciler:test")

    assert outcome(action) == (S.FAILED, Reason.REVIEW_EXPIRED)
    assert row(action).applied_at is not None


def test_an_action_that_cannot_be_ended_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of a newer version of SmartOps, after a rollback."""
    strange, other = requested("a"), requested("b")
    Action.objects.update(deadline_at=PAST)
    poison(monkeypatch, reclaim_verb, "_expired", lambda action, _: action.pk == strange.pk)

    expire_actions("reconciler:test")

    assert (row(strange).state, row(other).state) == (S.PENDING, S.CANCELLED)


def test_a_signal_that_no_reconciler_took_up_within_a_day_is_denied() -> None:
    post(anomaly("a"), anomaly("b"))
    Signal.objects.filter(workload="a").update(last_seen_at=Now() - FORGOTTEN_AFTER, not_before=PAST)

    expire_signals()

    states = dict(Signal.objects.values_list("workload", "state"))
    assert states == {"a": SignalState.DENIED, "b": SignalState.PENDING}
    assert Signal.objects.get(workload="a").reason == Reason.SIGNAL_EXPIRED


def test_a_signal_that_cannot_be_ended_keeps_no_other_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    post(anomaly("a"), anomaly("b"))
    Signal.objects.update(last_seen_at=Now() - FORGOTTEN_AFTER, not_before=PAST)
    poison(monkeypatch, signal_transitions, "deny", lambda signal, *_: signal.workload == "a")

    expire_signals()

    states = dict(Signal.objects.values_list("workload", "state"))
    assert states == {"a": SignalState.PENDING, "b": SignalState.DENIED}


def test_an_action_whose_signal_is_resolved_is_cancelled_before_it_is_applied() -> None:
    waiting, firing, applying, ambiguous = (of_signal(name) for name in "abcd")
    direct = requested("e")
    [_] = [one for one in claim_due("default", 100, "reconciler:test") if one.action.pk == applying.pk]
    Action.objects.exclude(pk=applying.pk).update(state=S.APPLYING, lease_until=Now())
    Action.objects.exclude(pk=applying.pk).update(state=S.PENDING, lease_until=None)
    Action.objects.filter(pk=ambiguous.pk).update(ambiguous=True)
    Signal.objects.update(state=SignalState.ADMITTED)
    Signal.objects.exclude(workload="b").update(resolved_at=Now())

    cancel_resolved("default", "reconciler:test")

    assert [outcome(one)[0] for one in (waiting, firing, applying, ambiguous, direct)] == [
        S.CANCELLED,
        S.PENDING,
        S.APPLYING,
        S.PENDING,
        S.PENDING,
    ]
    assert outcome(waiting)[1] == Reason.SIGNAL_RESOLVED
    assert Signal.objects.get(workload="a").closed_at is not None


def test_nothing_is_cancelled_for_another_cluster() -> None:
    action = of_signal("a")
    Signal.objects.update(state=SignalState.ADMITTED, resolved_at=Now())

    cancel_resolved("other", "reconciler:test")

    assert outcome(action) == (S.PENDING, "")


def test_an_action_that_cannot_be_reclaimed_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    strange, other = claimed("a"), claimed("b")
    lease_ends(strange, other)
    with monkeypatch.context() as patch:
        poison(patch, transitions, "reclaim", lambda action, _: action.pk == strange.pk)
        assert [one.action.pk for one in reclaim("default", "reconciler:second")] == [other.pk]
        assert reclaim("default", "reconciler:second") == [], "not at once: it would fail again"

    lease_ends(strange)
    assert [one.action.pk for one in reclaim("default", "reconciler:second")] == [strange.pk]


def test_an_action_that_cannot_be_cancelled_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    strange, other = of_signal("a"), of_signal("b")
    Signal.objects.update(state=SignalState.ADMITTED, resolved_at=Now())
    poison(monkeypatch, transitions, "cancel", lambda action, *_: action.pk == strange.pk)

    cancel_resolved("default", "reconciler:test")

    assert [outcome(one)[0] for one in (strange, other)] == [S.PENDING, S.CANCELLED]
