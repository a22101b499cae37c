"""Every transition of an action: the row before it, and the row after it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Cooldown
from guardrails.types import Limits
from orchestrator.k8s.types import Condition
from orchestrator.models import (
    FINAL,
    Action,
    ActionState,
    AuditEvent,
    Verification,
    VerificationStatus,
    transition_store,
    transitions,
)
from orchestrator.models.action import PENDING_FOR
from orchestrator.models.keys import ActiveAction
from orchestrator.models.transition_store import LEASE, Transition
from orchestrator.models.transitions import NO_PLAN, REVIEW_FOR
from signals.lib.notifications import connect, parse
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from tests.kit.deployments import document
from tests.kit.history import rewritable
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import SimulatedCluster
from tests.kit.verbs import fail_once, lease_ends, requested, row
from tests.kit.web import heard

pytestmark = pytest.mark.django_db
ME = "reconciler:me"
S = ActionState
cluster = SimulatedCluster()
AVAILABLE = Condition("Available", "True", "MinimumReplicasAvailable", "It is available.", "2026-01-01T00:00:00Z")
LIVE = replace(cluster.deployments[cluster.deploy("erp-simulator")], conditions=(AVAILABLE,))
WRITTEN = replace(LIVE, resource_version="9", generation=2, replicas=3, uid="uid-2", document=document(3))
LIMITS = Limits(cooldown_seconds=7, verification_timeout_seconds=42, stabilization_seconds=3)
PLAN = {
    "planned_uid": LIVE.uid,
    "planned_resource_version": LIVE.resource_version,
    "planned_generation": LIVE.generation,
    "change": {"replicas": 3},
    "scale_increase": 1,
}


BEFORE = {
    "replicas": 2,
    "available": 2,
    "paused": False,
    "conditions": [["Available", "True", "MinimumReplicasAvailable", "2026-01-01T00:00:00Z"]],
}


def claim(action: Action) -> Transition:
    return transitions.claim(action, ME)


def plan(action: Action) -> Transition:
    return transitions.plan(action, LIVE, {"replicas": 3}, 1, ME)


ASKED = {**PLAN, "planned_resource_version": "", "digest": "d1", "shown": {"uid": "uid-1"}}


def ask(action: Action) -> Transition:
    asks = transition_store.Asks({"uid": "uid-1"}, "d1", Reason.APPROVAL_REQUIRED, "approve it", {}, 77)
    return transitions.ask(action, PLAN, asks, ME)


def observe(action: Action) -> Transition:
    return transitions.observe_only(action, PLAN, "observed", {}, 7, ME)


def apply(action: Action) -> Transition:
    return transitions.apply(action, WRITTEN, LIMITS, ME)


def review(action: Action) -> Transition:
    return transitions.require_review(action, "Was it applied?", ME)


def move(action: Action, *constructors: Callable[[Action], Transition]) -> Action:
    for construct in constructors:
        assert len(transition_store.store([construct(action)])) == 1
    return action


@dataclass(frozen=True)
class Case:
    """`before` are the transitions that lead to the row; `terms` are of its proposal. `columns` are the ones that have
    to be as given afterwards; `wait`, `deadline` and `lease` are in seconds from the transition."""

    before: tuple[Callable[[Action], Transition], ...]
    make: Callable[[Action], Transition]
    to: ActionState
    reason: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)
    wait: float | None = None
    deadline: float | None = None
    applied: bool = False
    cooldown: bool = False
    verification: str | None = None  # its status


CASES = {
    "claim": Case((), claim, S.APPLYING, columns={"epoch": 1, "attempts": 1, **NO_PLAN}),
    "reclaim without a plan": Case(
        (claim,),
        lambda one: transitions.reclaim(one, ME),
        S.APPLYING,
        columns={"epoch": 2, "attempts": 2, "ambiguous": False},
    ),
    "reclaim with a plan": Case(
        (claim, plan),
        lambda one: transitions.reclaim(one, ME),
        S.APPLYING,
        columns={"epoch": 2, "attempts": 2, "ambiguous": True, **PLAN},
    ),
    "plan of a pending action": Case(
        (),
        plan,
        S.APPLYING,
        columns={"epoch": 1, "attempts": 1, "before": BEFORE, **PLAN},
    ),
    "plan of a claimed action": Case((claim,), plan, S.APPLYING, columns={"epoch": 1, "attempts": 1, **PLAN}),
    "keep_plan": Case(
        (claim, plan),
        lambda one: transitions.keep_plan(one, WRITTEN, ME),
        S.APPLYING,
        columns={"epoch": 1, **PLAN, "planned_resource_version": "9", "before": {**BEFORE, "replicas": 3}},
    ),
    "apply": Case(
        (claim, plan),
        apply,
        S.VERIFYING,
        columns={"planned_uid": "uid-2", "epoch": 1},
        deadline=42,
        applied=True,
        cooldown=True,
        verification="",
    ),
    "apply without a verification": Case(
        (claim, plan), apply, S.SUCCEEDED, terms={"verify": False}, applied=True, cooldown=True
    ),
    "apply of a dry run": Case((claim, plan), apply, S.SUCCEEDED, terms={"dry_run": True}),
    "ask": Case(
        (claim,), ask, S.AWAITING_APPROVAL, Reason.APPROVAL_REQUIRED, columns={"attempts": 1, **ASKED}, deadline=77
    ),
    "ask again": Case((claim, ask), ask, S.AWAITING_APPROVAL, Reason.APPROVAL_REQUIRED, columns=ASKED, deadline=77),
    "observe_only": Case(
        (claim,),
        observe,
        S.OBSERVED,
        Reason.OBSERVE_ONLY,
        columns={**PLAN, "planned_resource_version": ""},
        applied=True,
        cooldown=True,
    ),
    "approve": Case(
        (claim, ask),
        lambda one: transitions.approve(one, "Approved by user:ana.", {}, ME),
        S.PENDING,
        Reason.APPROVED,
        columns=ASKED,
        wait=0,
        deadline=PENDING_FOR.total_seconds(),
    ),
    "reject": Case(
        (claim, ask), lambda one: transitions.reject(one, "no", ME), S.REJECTED, Reason.REJECTED, columns=ASKED
    ),
    "expire_approval": Case(
        (claim, ask), lambda one: transitions.expire_approval(one, "late", ME), S.EXPIRED, Reason.APPROVAL_EXPIRED
    ),
    "put_back": Case(
        (claim, plan),
        lambda one: transitions.put_back(one, Reason.CONFLICT, "modified", 3.5, ME, ambiguous=False),
        S.PENDING,
        Reason.CONFLICT,
        columns={"ambiguous": False, "attempts": 1, **NO_PLAN},
        wait=3.5,
    ),
    "put_back of an ambiguous write": Case(
        (claim, plan),
        lambda one: transitions.put_back(one, Reason.CLUSTER_UNREACHABLE, "no answer", 2, ME, ambiguous=True),
        S.PENDING,
        Reason.CLUSTER_UNREACHABLE,
        columns={"ambiguous": True, **PLAN},
        wait=2,
    ),
    "cancel of a pending action": Case(
        (),
        lambda one: transitions.cancel(one, Reason.FROZEN, "frozen", ME, {"freezes": 1}),
        S.CANCELLED,
        Reason.FROZEN,
        columns={"details": {"freezes": 1}},
    ),
    "cancel of a claimed action": Case(
        (claim,), lambda one: transitions.cancel(one, Reason.FROZEN, "", ME), S.CANCELLED, Reason.FROZEN
    ),
    "fail": Case(
        (claim, plan),
        lambda one: transitions.fail(one, Reason.TARGET_GONE, "gone", ME),
        S.FAILED,
        Reason.TARGET_GONE,
    ),
    "require_review": Case(
        (claim, plan),
        review,
        S.NEEDS_REVIEW,
        Reason.OUTCOME_UNKNOWN,
        columns=PLAN,
        deadline=REVIEW_FOR.total_seconds(),
    ),
    "reviewed as applied": Case(
        (claim, plan, review),
        lambda one: transitions.reviewed(one, True, "I saw it.", LIMITS, ME),
        S.SUCCEEDED,
        Reason.REVIEWED,
        applied=True,
        cooldown=True,
    ),
    "reviewed as not applied": Case(
        (claim, plan, review),
        lambda one: transitions.reviewed(one, False, "It is not there.", LIMITS, ME),
        S.CANCELLED,
        Reason.REVIEWED,
    ),
    "expire_review": Case(
        (claim, plan, review),
        lambda one: transitions.expire_review(one, LIMITS, ME),
        S.FAILED,
        Reason.REVIEW_EXPIRED,
        applied=True,
        cooldown=True,
    ),
    **{
        f"verified as {status}": Case(
            (claim, plan, apply),
            lambda one, status=status: transitions.verified(  # type: ignore[misc]
                one, status, Reason.ROLLOUT_COMPLETE, "as seen", WRITTEN, ME
            ),
            to,
            Reason.ROLLOUT_COMPLETE,
            applied=True,
            cooldown=True,
            verification=status,
        )
        for status, to in transitions.VERIFIED_AS.items()
    },
}


def test_the_table_has_every_constructor() -> None:
    constructors = {
        name
        for name, one in vars(transitions).items()
        if getattr(one, "__annotations__", {}).get("return") is Transition and not name.startswith("_")
    }
    assert constructors == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_transition_stores_its_state_and_columns_and_brings_its_copy_up_to_date(case: Case) -> None:
    action = move(requested(**case.terms), *case.before)
    if action.state == S.APPLYING:
        lease_ends(action)
    earlier, not_before = row(action), action.not_before
    events = AuditEvent.objects.count()

    [stored] = transition_store.store([case.make(action)])

    found = row(action)
    assert stored.action is action
    assert (found.state, found.reason, found.moved_by) == (case.to, case.reason, ME)
    assert {name: getattr(found, name) for name in case.columns} == case.columns
    assert found.epoch == case.columns.get("epoch", earlier.epoch)
    assert (found.finished_at is not None) == (case.to in FINAL)
    assert (found.applied_at is not None) == case.applied
    lease = None if found.lease_until is None else found.lease_until - found.updated_at
    assert lease == (LEASE if case.to == S.APPLYING else None)
    if case.wait is None:
        assert found.not_before == not_before
    else:
        assert found.not_before - found.updated_at == timedelta(seconds=case.wait)
    if case.deadline is None:
        assert found.deadline_at == earlier.deadline_at
    else:
        assert found.deadline_at - found.updated_at == timedelta(seconds=case.deadline)
    assert Cooldown.objects.exists() == case.cooldown
    assert list(Verification.objects.values_list("status", flat=True)) == (
        [] if case.verification is None else [case.verification]
    )
    event = AuditEvent.objects.latest("id")
    assert (event.from_state, event.to_state, event.epoch, event.actor) == (
        earlier.state,
        case.to,
        found.epoch,
        ME,
    )
    assert AuditEvent.objects.count() == events + 1
    columns = Action.objects.filter(pk=action.pk).values().get()
    assert {name: getattr(action, name) for name in columns} == columns


@pytest.mark.parametrize("first", [plan, ask, observe])
def test_an_action_of_a_signal_is_stored_with_its_first_transition(first: Callable[[Action], Transition]) -> None:
    """As if it had been stored as pending and then moved, but for its epoch and its timeline."""
    moved = move(requested("a"), *([] if first is plan else [claim]), first)
    action = Action.new(moved.proposal, requested("b", dry_run=True).workload, id=Action.new_id(), moved_by=ME)
    now = timezone.now()

    with transaction.atomic():
        transition_store.create([first(action)], now)

    stored: dict[str, Any] = {**Action.objects.filter(pk=action.pk).values().get()}
    assert {name: getattr(action, name) for name in stored} == stored
    own = {
        "id",
        "workload_id",
        "epoch",
        "attempts",
        "requested_by",
        *transition_store.TIMES,
        "created_at",
        "traceparent",
    }
    expected: dict[str, Any] = {**Action.objects.filter(pk=moved.pk).values().get()}
    assert {name for name in stored if stored[name] != expected[name]} <= own
    times = {name: stored[name] and stored[name] - now for name in ("created_at", *transition_store.TIMES)}
    passed = {name: expected[name] and expected[name] - expected["updated_at"] for name in transition_store.TIMES}
    for name in ("lease_until", "applied_at", "finished_at", *(["deadline_at"] if first is ask else [])):
        assert times[name] == passed[name]
    if first is not ask:
        assert times["deadline_at"] == expected["deadline_at"] - expected["created_at"]
    assert (times["created_at"], times["not_before"]) == (timedelta(0), timedelta(0))
    [event] = AuditEvent.objects.filter(action=action)
    assert (event.from_state, event.to_state, event.actor) == ("", action.state, ME)
    assert ActiveAction.objects.filter(action=action).exists() == (action.state not in FINAL)
    assert Cooldown.objects.filter(workload="b").exists() == (first is observe)


@pytest.mark.parametrize("firsts", list(permutations([plan, ask, observe])))
def test_actions_of_signals_are_stored_together_whatever_their_first_transitions(
    firsts: tuple[Callable[[Action], Transition], ...],
) -> None:
    proposals = [requested(first.__name__, dry_run=True) for first in firsts]
    actions = [Action.new(one.proposal, one.workload, id=Action.new_id(), moved_by=ME) for one in proposals]
    pairs = list(zip(firsts, actions, strict=True))

    with transaction.atomic():
        transition_store.create([first(action) for first, action in pairs], timezone.now())

    for first, action in pairs:
        assert bool(row(action).digest) is (first is ask)


def test_a_plan_has_the_changed_fields_and_the_answer_to_the_write_corrects_them() -> None:
    action = move(requested(), claim, plan)
    assert (row(action).before_image, row(action).after_image) == ({"spec.replicas": 2}, {"spec.replicas": 3})

    defaulted = replace(WRITTEN, document=document(4))
    late = transitions.apply(action, defaulted, LIMITS, ME, answered=False)
    assert late.columns == {"planned_uid": WRITTEN.uid}

    move(action, lambda one: transitions.apply(one, defaulted, LIMITS, ME))
    assert (row(action).before_image, row(action).after_image) == ({"spec.replicas": 2}, {"spec.replicas": 4})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    "changed",
    [
        {"epoch": 41},
        {"planned_resource_version": "somebody planned anew"},
    ],
    ids=["the epoch", "the planned version"],
)
def test_a_transition_loses_against_a_row_that_has_changed(case: Case, changed: dict[str, Any]) -> None:
    action = move(requested(**case.terms), *case.before)
    if action.state == S.APPLYING:
        lease_ends(action)
    with rewritable(Action):
        Action.objects.filter(pk=action.pk).update(**changed)
    before, cooldowns = Action.objects.values().get(), list(Cooldown.objects.values())
    copy = dict(vars(action))

    assert transition_store.store([case.make(action)]) == []

    assert Action.objects.values().get() == before
    assert list(Cooldown.objects.values()) == cooldowns
    assert {name: vars(action)[name] for name in copy} == copy


def test_a_transition_loses_against_another_state() -> None:
    action = move(requested(), claim)
    other = row(action)
    move(other, lambda one: transitions.fail(one, Reason.TARGET_GONE, "gone", "reconciler:another"))

    assert transition_store.store([apply(action)]) == []
    assert not Verification.objects.exists()


def test_a_lease_that_has_not_ended_is_not_reclaimed() -> None:
    action = move(requested(), claim)

    assert transition_store.store([transitions.reclaim(action, ME)]) == []
    assert row(action).epoch == 1


def test_a_copy_that_is_final_moves_nowhere() -> None:
    action = move(requested(), lambda one: transitions.cancel(one, Reason.FROZEN, "", ME))

    assert transition_store.store([transitions.cancel(action, Reason.FROZEN, "", ME)]) == []
    assert transition_store.store([]) == []


def test_a_batch_stores_all_but_those_that_were_lost() -> None:
    applied, lost, retried, failed = (move(requested(name), claim, plan) for name in "abcd")
    lease_ends(lost)
    move(row(lost), lambda one: transitions.reclaim(one, "reconciler:another"))
    moves = [
        apply(applied),
        apply(lost),
        transitions.put_back(retried, Reason.CONFLICT, "modified", 1, ME, ambiguous=False),
        transitions.fail(failed, Reason.TARGET_GONE, "gone", ME),
    ]

    assert transition_store.store(moves) == [moves[0], moves[2], moves[3]]

    assert [row(one).state for one in (applied, lost, retried, failed)] == [
        S.VERIFYING,
        S.APPLYING,
        S.PENDING,
        S.FAILED,
    ]
    assert list(Cooldown.objects.values_list("workload", flat=True)) == ["a"]
    assert Verification.objects.get().action_id == applied.pk
    assert lost.state == S.APPLYING
    assert lost.epoch == 1, "the copy of a lost action stays as it was"


@pytest.mark.django_db(transaction=True)
def test_a_batch_writes_one_row_of_the_timeline_and_one_notification_for_each_action() -> None:
    actions = [requested(name) for name in "abc"]
    events = AuditEvent.objects.count()
    with connect() as session:
        session.execute("LISTEN smartops")

        transition_store.store([claim(one) for one in actions])

        rows = sorted(row for payload in heard(session) for row in parse(payload))
    assert rows == sorted(("action", str(one.pk)) for one in actions)
    new = AuditEvent.objects.order_by("id")[events:]
    assert sorted(event.action_id for event in new) == sorted(one.pk for one in actions)


def test_an_action_that_ends_closes_its_signal_and_frees_its_target() -> None:
    [first] = post(anomaly("erp-simulator"))
    action = move(requested(signal=Signal.objects.get(pk=first.signal_id)), claim)
    stateful_set = Target("default", NAMESPACE, "erp-simulator", Kind.STATEFUL_SET)
    second, other = post(anomaly("erp-simulator", "latency"), anomaly("", target=stateful_set))
    Signal.objects.filter(pk=first.signal_id).update(state=SignalState.ADMITTED)
    waiting = Signal.objects.filter(pk__in=[second.signal_id, other.signal_id])
    waiting.update(reason=Reason.TARGET_BUSY, not_before=Now() + timedelta(hours=1))

    move(action, lambda one: transitions.fail(one, Reason.TARGET_GONE, "gone", ME))

    assert Signal.objects.get(pk=first.signal_id).closed_at is not None
    assert [one.pk for one in Signal.due("default", 9)] == [Signal.objects.get(pk=second.signal_id).pk]


@pytest.mark.parametrize("name", ["_record_applied", "_close_and_wake", "_log", "_update_copy"])
def test_a_transaction_that_fails_leaves_rows_and_copies_as_they_were(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    verifying, ended = move(requested("a"), claim, plan), move(requested("b"), claim, plan)
    moves = [apply(verifying), transitions.fail(ended, Reason.TARGET_GONE, "gone", ME)]
    before = list(Action.objects.order_by("pk").values())
    fail_once(monkeypatch, transition_store, name, after=True)

    with pytest.raises(OperationalError):
        transition_store.store(moves)

    assert list(Action.objects.order_by("pk").values()) == before
    assert [one.state for one in (verifying, ended)] == [S.APPLYING, S.APPLYING]
    assert (Cooldown.objects.exists(), Verification.objects.exists()) == (False, False)
    assert len(transition_store.store(moves)) == 2


def test_a_verification_that_saw_no_deployment_has_no_counts() -> None:
    action = move(requested(), claim, plan, apply)

    gone = (VerificationStatus.FAILED, Reason.TARGET_GONE, "The Deployment was deleted", None)
    move(action, lambda one: transitions.verified(one, *gone, ME))

    found = Verification.objects.get()
    assert (found.status, found.message, found.desired_replicas) == ("FAILED", "The Deployment was deleted", None)
    assert found.finished_at is not None


def test_a_batch_of_any_size_takes_the_same_number_of_statements() -> None:
    def statements(number: int) -> int:
        actions = [move(requested(f"erp-{number}-{index}"), claim, plan) for index in range(number)]
        connection.force_debug_cursor = True
        try:
            connection.queries_log.clear()
            transition_store.store([apply(one) for one in actions])
            return len(connection.queries_log)
        finally:
            connection.force_debug_cursor = False

    assert statements(1) == statements(7)


def verified(action: Action) -> Transition:
    return transitions.verified(action, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, "done", WRITTEN, ME)


@pytest.mark.parametrize(("own", "deadline"), [(0, 42), (10, 42), (32, 42), (33, 43), (600, 610)])
def test_a_verification_lasts_as_long_as_the_deployments_own_deadline(own: int, deadline: int) -> None:
    action = move(requested(), claim, plan)
    written = replace(WRITTEN, progress_deadline=own)
    move(action, lambda one: transitions.apply(one, written, LIMITS, ME))

    assert action.deadline_at - action.updated_at == timedelta(seconds=deadline)


@pytest.mark.parametrize(("left", "begins_again"), [(5, False), (-5, True)])
def test_a_cooldown_that_the_verification_outlasts_begins_again(left: float, begins_again: bool) -> None:
    action = move(requested(), claim, plan, apply)
    Cooldown.objects.update(until=Now() + timedelta(seconds=left))
    before = Cooldown.objects.get().until

    move(action, verified)

    assert action.finished_at is not None
    until = action.finished_at + timedelta(seconds=7) if begins_again else before
    assert abs(Cooldown.objects.get().until - until) < timedelta(seconds=1)


def test_a_cooldown_that_somebody_deleted_does_not_begin_again() -> None:
    action = move(requested(), claim, plan, apply)
    Cooldown.objects.all().delete()

    move(action, verified)

    assert not Cooldown.objects.exists()


def test_what_a_plan_is_warned_of_is_stored_until_it_is_planned_anew() -> None:
    warning = {"guardrail": "rollout", "reason": "RolloutInProgress", "message": "Wait.", "details": {"by": "helm"}}
    action = move(requested(), claim)

    def warned(one: Action) -> Transition:
        return transitions.plan(one, LIVE, {"replicas": 1}, 0, ME, scale_decrease=1, warnings=[warning])

    move(action, warned)
    assert (row(action).warnings, row(action).scale_decrease) == ([warning], 1)
    move(action, lambda one: transitions.keep_plan(one, WRITTEN, ME))
    assert row(action).warnings == []
    move(action, warned, lambda one: transitions.put_back(one, Reason.CONFLICT, "again", 1, ME, ambiguous=False))
    assert (row(action).warnings, row(action).scale_decrease) == ([], 0)
