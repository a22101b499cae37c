"""History that nobody changes: each finished row refuses other values from every role, and there is no switch."""

import re
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from orchestrator.models import Action, Verification
from orchestrator.models.action import IDENTITY, PLAN
from orchestrator.models.evidence import VERIFICATION_BASIS
from tests.orchestrator.test_constraints import an_action, an_observation, refused

pytestmark = pytest.mark.django_db

OTHER_ACTION: dict[str, str] = {
    "id": "gen_random_uuid()",
    "workload_id": "workload_id + 1",
    "cluster": "'another'",
    "signal_id": "gen_random_uuid()",
    "origin": "'closed_loop'",
    "requested_by": "'token:another'",
    "reported_by": "'[\"token:agent\"]'",
    "idempotency_key": "'another'",
    "request_digest": "'another'",
    "type": "'RESTART'",
    "params": "'{\"replicas\": 9}'",
    "justification": "'another'",
    "dry_run": "NOT dry_run",
    "verify": "NOT verify",
    "created_at": "created_at - interval '1 day'",
    "traceparent": "'another'",
}
OTHER_PLAN = {
    "planned_uid": "'another'",
    "planned_resource_version": "'another'",
    "planned_generation": "7",
    "before": "'{}'",
    "change": "'{}'",
    "before_image": "'{}'",
    "after_image": "'{}'",
    "scale_increase": "scale_increase + 1",
    "scale_decrease": "scale_decrease + 1",
    "warnings": "'[{}]'",
    "digest": "'another'",
    "shown": '\'{"uid": "another"}\'',
}
OTHER_BASIS = {
    "action_id": "gen_random_uuid()",
    "generation": "generation + 1",
    "baseline": "'{\"replicas\": 9}'",
    "stabilization_seconds": "stabilization_seconds + 1",
    "started_at": "started_at - interval '1 day'",
}
OTHER_END = {
    "state": "'failed'",
    "reason": "'Another'",
    "message": "'another'",
    "details": "'{\"replicas\": 9}'",
    "moved_by": "'user:another'",
    "epoch": "epoch + 1",
    "attempts": "attempts + 1",
    "updated_at": "now() + interval '1 day'",
    "deadline_at": "now() + interval '1 day'",
    "applied_at": "now() + interval '1 day'",
    "finished_at": "now() + interval '1 day'",
    "ambiguous": "NOT ambiguous",
    "rehearsal": "'{\"ok\": true}'",
    **OTHER_PLAN,
}


def update(table: str, column: str, value: str, key: str, pk: Any) -> str:
    return refused(f"UPDATE {table} SET {column} = {value} WHERE {key} = %s", pk)  # noqa: S608


def test_the_tables_of_this_file_name_every_column() -> None:
    columns = {field.name: field.column for field in Action._meta.concrete_fields}
    basis = {field.name: field.column for field in Verification._meta.concrete_fields}

    assert OTHER_PLAN.keys() == {columns[name] for name in PLAN}
    assert OTHER_ACTION.keys() == {columns[name] for name in IDENTITY}
    assert OTHER_BASIS.keys() == {basis[name] for name in VERIFICATION_BASIS}
    assert OTHER_ACTION.keys() | OTHER_END.keys() >= set(columns.values()) - {"not_before", "lease_until"}


@pytest.mark.parametrize(("column", "value"), OTHER_ACTION.items())
def test_what_was_requested_stays(column: str, value: str) -> None:
    assert "identity_unchanged" in update("orchestrator_action", column, value, "id", an_action("applying").pk)


@pytest.mark.parametrize("state", ["verifying", "needs_review"])
@pytest.mark.parametrize(("column", "value"), OTHER_PLAN.items())
def test_the_plan_of_a_written_change_stays(state: str, column: str, value: str) -> None:
    assert "plan_unchanged" in update("orchestrator_action", column, value, "id", an_action(state).pk)


@pytest.mark.parametrize(("column", "value"), OTHER_PLAN.items())
def test_a_plan_may_be_made_anew_before_the_write(column: str, value: str) -> None:
    assert update("orchestrator_action", column, value, "id", an_action("applying").pk) == ""


@pytest.mark.parametrize("assignment", ["epoch = epoch - 1", "attempts = attempts - 1", "applied_at = NULL"])
def test_an_attempt_is_not_forgotten(assignment: str) -> None:
    action = an_action("needs_review", epoch=2, attempts=2)
    Action.objects.filter(pk=action.pk).update(applied_at=Now())

    statement = f"UPDATE orchestrator_action SET {assignment} WHERE id = %s"  # noqa: S608
    assert "progress_kept" in refused(statement, action.pk)


@pytest.mark.parametrize(("column", "value"), OTHER_END.items())
def test_an_action_that_has_ended_stays(column: str, value: str) -> None:
    error = update("orchestrator_action", column, value, "id", an_action("succeeded").pk)

    assert "ended_unchanged" in error or (column == "state" and "Invalid transition" in error)


@pytest.mark.parametrize(("column", "value"), OTHER_BASIS.items())
def test_the_basis_of_a_verification_stays(column: str, value: str) -> None:
    action = an_action("verifying")
    Verification.objects.create(action=action, generation=2, baseline={})

    assert "basis_unchanged" in update("orchestrator_verification", column, value, "action_id", action.pk)


@pytest.mark.parametrize("assignment", ["message = 'x'", "status = ''", "ready_replicas = 9", "finished_at = now()"])
def test_a_verification_that_has_ended_stays(assignment: str) -> None:
    action = an_action("verifying")
    Verification.objects.create(action=action, generation=2, baseline={})
    end = "UPDATE orchestrator_verification SET status = 'SUCCESS', finished_at = '2026-01-01' WHERE action_id = %s"
    assert refused(end, action.pk) == ""

    statement = f"UPDATE orchestrator_verification SET {assignment} WHERE action_id = %s"  # noqa: S608
    assert "finished_unchanged" in refused(statement, action.pk)
    assert "Cannot delete" in refused("DELETE FROM orchestrator_verification WHERE action_id = %s", action.pk)


@pytest.mark.parametrize(
    "table",
    [
        "signals_signal",
        "signals_observation",
        "orchestrator_workload",
        "orchestrator_action",
        "orchestrator_decisionrecord",
        "orchestrator_auditevent",
        "orchestrator_verification",
    ],
)
def test_no_table_of_history_is_emptied(table: str) -> None:
    with connection.cursor() as cursor, pytest.raises(DatabaseError, match=r"Cannot .*truncate"), transaction.atomic():
        cursor.execute(f"TRUNCATE {table} CASCADE")


def test_the_setting_of_the_trigger_library_switches_nothing_off() -> None:
    """The list has the names of all triggers of the database."""
    observation = an_observation()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', array_agg(tgname)::text, true) FROM pg_trigger")

        for statement in ("DELETE FROM signals_observation", "UPDATE signals_observation SET posted_by = 'x'"):
            with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic():
                cursor.execute(statement)
    observation.refresh_from_db()


# With the rights of the owner: they write what no process may write itself.
OF_THE_OWNER = ("pgtrigger_audit_", "pgtrigger_recorded_", "pgtrigger_next_settings_")
# What the history of settings says of a change, as the session states it.
STATED = {"smartops.actor", "smartops.address", "smartops.reason"}


def test_no_function_of_a_trigger_has_a_switch_or_trusts_the_session() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, prosrc, proconfig, prosecdef FROM pg_proc "
            "WHERE prorettype = 'trigger'::regtype AND proname LIKE 'pgtrigger%'"
        )
        functions = cursor.fetchall()

    assert functions
    for name, source, configuration, is_owners in functions:
        asked = set(re.findall(r"current_setting\('([^']*)'", source))
        assert asked <= (STATED if name.startswith("pgtrigger_recorded_") else set()), name
        assert "pgtrigger_should" not in source, name
        assert configuration == ["search_path=pg_catalog, public, pg_temp"], name
        assert is_owners == name.startswith(OF_THE_OWNER), name
