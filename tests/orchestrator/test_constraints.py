"""PostgreSQL refuses what must not be, whoever writes: raw statements, past all of our code."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from guardrails.models import Freeze, GuardrailSetting
from orchestrator.models import Action, AuditEvent, DecisionRecord, Verification, Workload
from signals import actors
from signals.ingest import ingest
from signals.models import Observation as StoredObservation
from signals.models import Signal
from signals.types import Observation, Origin, Source, Target

pytestmark = pytest.mark.django_db

TARGET = Target("default", "smartops-dev", "erp-simulator")
ACTIVE = ("awaiting_approval", "pending", "applying", "verifying", "needs_review")
FINAL = ("succeeded", "failed", "timed_out", "cancelled", "rejected", "expired", "observed")
ACTION_MOVES = {
    "awaiting_approval": {"pending", "rejected", "expired", "cancelled", "observed"},
    "pending": {"applying", "cancelled"},
    "applying": {
        *("pending", "verifying", "succeeded", "failed", "cancelled", "needs_review"),
        *("awaiting_approval", "observed"),
    },
    "verifying": {"succeeded", "failed", "timed_out"},
    "needs_review": {"succeeded", "failed", "cancelled"},
}
SIGNAL_ENDS = {"denied", "ignored", "resolved", "failed"}


def refused(statement: str, *parameters: Any) -> str:
    """What PostgreSQL says against the statement; empty if it did it."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            assert cursor.rowcount > 0, "the statement met no row: it shows nothing"
    except DatabaseError as error:
        return str(error)
    return ""


def fitting(state: str) -> dict[str, Any]:
    """The other columns that an action in this state needs."""
    return {
        "state": state,
        "lease_until": Now() if state == "applying" else None,
        "applied_at": Now() if state in ("verifying", "timed_out", "observed") else None,
        "finished_at": Now() if state in FINAL else None,
    }


def an_action(state: str = "pending", **columns: Any) -> Action:
    return Action.objects.create(
        workload=Workload.lock([TARGET])[TARGET],
        cluster="default",
        origin=Origin.DIRECT,
        type="SCALE",
        deadline_at=Now(),
        **fitting(state),
        digest="shown",
        shown={},
        **{"requested_by": "token:ana", "moved_by": "token:ana", **columns},
    )


def a_signal() -> Signal:
    observation = Observation(Source.ANOMALY, TARGET, "resource", "w1", True, {}, score=0.9)
    return Signal.objects.get(pk=ingest([observation], actors.token("an agent"))[0].signal_id)


@pytest.mark.parametrize("here", [*ACTIVE, *FINAL])
def test_an_action_moves_only_along_its_transitions(here: str) -> None:
    action = an_action(here)

    def reachable(there: str) -> bool:
        now = "statement_timestamp()"
        columns = {name: "NULL" if value is None else now for name, value in fitting(there).items() if name != "state"}
        if columns.pop("applied_at") == now:
            columns["applied_at"] = f"coalesce(applied_at, {now})"
        assignments = ", ".join(f"{name} = {value}" for name, value in columns.items())
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE orchestrator_action SET state = %s, {assignments} WHERE id = %s",  # noqa: S608
                    [there, action.pk],
                )
                transaction.set_rollback(True)
        except DatabaseError as error:
            assert "Invalid transition" in str(error)  # noqa: PT017 - the others pass
            return False
        return True

    others = set(ACTIVE + FINAL) - {here}
    assert {there for there in others if reachable(there)} == ACTION_MOVES.get(here, set())


@pytest.mark.parametrize("here", ["pending", "admitted", *sorted(SIGNAL_ENDS)])
def test_a_signal_moves_only_out_of_pending(here: str) -> None:
    signal = a_signal()
    closed = None if here in ("pending", "admitted") else Now()
    Signal.objects.filter(pk=signal.pk).update(state=here, closed_at=closed)
    moves = []

    for there in {"pending", "admitted", *SIGNAL_ENDS} - {here}:
        ends = "statement_timestamp()" if there in SIGNAL_ENDS else "NULL"
        statement = f"UPDATE signals_signal SET state = %s, closed_at = {ends} WHERE id = %s"  # noqa: S608
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [there, signal.pk])
                transaction.set_rollback(True)
        except DatabaseError as error:
            assert "Invalid transition" in str(error)  # noqa: PT017
            continue
        moves.append(there)

    assert set(moves) == ({"admitted", *SIGNAL_ENDS} if here == "pending" else set())


@pytest.mark.parametrize(
    ("state", "assignment", "constraint"),
    [
        ("succeeded", "finished_at = NULL", "ended_unchanged"),
        ("pending", "finished_at = now()", "finished_iff_final"),
        ("applying", "state = 'succeeded', lease_until = NULL", "finished_iff_final"),
        ("applying", "lease_until = NULL", "leased_iff_applying"),
        ("applying", "state = 'verifying', applied_at = now()", "leased_iff_applying"),
        ("pending", "lease_until = now()", "leased_iff_applying"),
        ("pending", "state = 'applying'", "leased_iff_applying"),
        ("verifying", "applied_at = NULL", "progress_kept"),
        ("applying", "state = 'verifying', lease_until = NULL", "verified_only_what_was_applied"),
        ("pending", "epoch = -1", "progress_kept"),
        ("pending", "workload_id = NULL", "identity_unchanged"),
        ("pending", "deadline_at = NULL", "not-null"),
    ],
)
def test_an_action_is_refused_what_contradicts_its_state(state: str, assignment: str, constraint: str) -> None:
    action = an_action(state)

    statement = f"UPDATE orchestrator_action SET {assignment} WHERE id = %s"  # noqa: S608
    assert constraint in refused(statement, action.pk)


@pytest.mark.parametrize("second", ACTIVE)
@pytest.mark.parametrize("first", ACTIVE)
def test_a_workload_has_one_active_action(first: str, second: str) -> None:
    an_action(first)

    with pytest.raises(DatabaseError, match="one_active_action_per_target"), transaction.atomic():
        an_action(second)


@pytest.mark.parametrize("first", FINAL)
def test_a_finished_action_makes_room_for_the_next(first: str) -> None:
    an_action(first)
    an_action("pending")

    assert Action.objects.count() == 2


def test_an_idempotency_key_belongs_to_one_action_of_its_requester() -> None:
    an_action("succeeded", requested_by="token:ana", idempotency_key="k")
    an_action("succeeded", requested_by="token:ben", idempotency_key="k")

    with pytest.raises(DatabaseError, match="one_action_per_idempotency_key"), transaction.atomic():
        an_action("succeeded", requested_by="token:ana", idempotency_key="k")


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("closed_at = now()", "signal_closed_iff_final"),
        ("state = 'denied'", "signal_closed_iff_final"),
        ("state = 'ignored'", "signal_closed_iff_final"),
        ("count = -1", "count"),
        ("payload = NULL", "not-null"),
    ],
)
def test_a_signal_is_refused_what_contradicts_its_state(assignment: str, constraint: str) -> None:
    signal = a_signal()

    statement = f"UPDATE signals_signal SET {assignment} WHERE id = %s"  # noqa: S608
    assert constraint in refused(statement, signal.pk)


def an_observation() -> StoredObservation:
    return a_signal().observations.get()


def a_decision() -> DecisionRecord:
    return DecisionRecord.objects.create(
        phase="admit", requested_by="rule:a", outcome="allow", inputs={}, verdicts=[], signal=a_signal()
    )


def an_event() -> AuditEvent:
    return AuditEvent.objects.create(action=an_action(), to_state="pending", epoch=0, actor="reconciler:test")


@pytest.mark.parametrize(
    ("table", "make"),
    [
        ("signals_observation", an_observation),
        ("orchestrator_decisionrecord", a_decision),
        ("orchestrator_auditevent", an_event),
    ],
)
def test_history_only_grows(table: str, make: Callable[[], Any]) -> None:
    row = make()

    assert "Cannot update or delete" in refused(f"UPDATE {table} SET id = id WHERE id = %s", row.pk)  # noqa: S608
    assert "Cannot update or delete" in refused(f"DELETE FROM {table} WHERE id = %s", row.pk)  # noqa: S608


@pytest.mark.parametrize("assignment", ["status = 'SUCCESS'", "finished_at = now()"])
def test_a_verification_is_finished_if_and_only_if_it_has_a_status(assignment: str) -> None:
    action = an_action("verifying")
    Verification.objects.create(action=action, generation=2, baseline={})

    statement = f"UPDATE orchestrator_verification SET {assignment} WHERE action_id = %s"  # noqa: S608
    assert "verified_iff_finished" in refused(statement, action.pk)


@pytest.mark.parametrize("table", ["signals_signal", "orchestrator_action", "orchestrator_workload"])
def test_what_history_speaks_of_stays(table: str) -> None:
    an_observation()
    an_event()

    statement = f"DELETE FROM {table}; SET CONSTRAINTS ALL IMMEDIATE"  # noqa: S608
    with (
        pytest.raises(DatabaseError, match=r"foreign key|history is kept"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize("scope", [GuardrailSetting(), Freeze(by=actors.user("ana"))])
def test_a_scope_names_the_namespace_of_its_workload(scope: Any) -> None:
    scope.workload = "erp-simulator"
    with pytest.raises(DatabaseError, match="workload_has_namespace"), transaction.atomic():
        scope.save()


def test_a_scope_has_one_setting() -> None:
    GuardrailSetting.objects.create(namespace="smartops-dev")

    with pytest.raises(DatabaseError, match="one_setting_per_scope"), transaction.atomic():
        GuardrailSetting.objects.create(namespace="smartops-dev")
