"""Monthly partitions: none is ever missing, each keeps history as its table does, and queries read few of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestrator.models import Action, ActionState, ActiveAction, AuditEvent, IdempotencyKey
from orchestrator.models.keys import ACTIVE_IDS
from signals.lib import partitions
from signals.lib.notifications import connect
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from tests.kit.processes import environment
from tests.orchestrator.test_constraints import an_action

pytestmark = pytest.mark.django_db

TABLES = [apps.get_model(label)._meta.db_table for label in partitions.PARTITION_BY]
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1"


def rows(statement: str, *parameters: Any) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [str(row[0]) for row in cursor.fetchall()]


def months(count: int) -> list[str]:
    """The suffixes of this month's partition and the following ones."""
    now = timezone.now()
    return [f"_{now.year + (now.month - 1 + n) // 12}_{(now.month - 1 + n) % 12 + 1:02}" for n in range(count)]


def committed(pk: UUID) -> Action:
    """An action whose foreign keys have been checked, as those of a transaction that has ended."""
    action = an_action("succeeded", id=pk)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    return action


def place(pk: UUID) -> str:
    return rows("SELECT tableoid::regclass FROM orchestrator_action WHERE id = %s", pk)[0]


@pytest.mark.parametrize("table", TABLES)
def test_a_migrated_database_has_this_month_and_the_next_three(table: str) -> None:
    assert rows(PARTITIONS, table) == [*(f"{table}{month}" for month in months(4)), f"{table}_default"]


def test_the_list_of_partitioned_models_is_what_the_database_has() -> None:
    assert set(rows("SELECT partrelid::regclass FROM pg_partitioned_table")) == set(TABLES)


def test_nothing_is_created_twice() -> None:
    assert partitions.create_ahead() == []


def test_a_row_without_a_partition_is_stored_and_moves_to_the_one_that_is_created() -> None:
    at = timezone.now().replace(day=1) - timedelta(days=62)
    action = committed(partitions.first_id(at))
    assert place(action.pk) == "orchestrator_action_default"

    created = partitions.create_ahead()

    assert len(created) == 2 * 3, "no month between is missing"
    assert place(action.pk) == f"orchestrator_action{at:_%Y_%m}" == created[0]
    assert rows("SELECT tableoid::regclass FROM orchestrator_auditevent") == [f"orchestrator_auditevent{at:_%Y_%m}"]
    assert AuditEvent.objects.get().action == action


def test_an_id_that_names_no_time_near_ours_stays_in_the_default_partition() -> None:
    action = an_action(id=UUID("f0000000-0000-4000-8000-000000000000"))

    assert partitions.create_ahead() == []
    assert place(action.pk) == "orchestrator_action_default"


@pytest.mark.parametrize("statement", ["DELETE FROM {0}", "TRUNCATE {0}"])
@pytest.mark.parametrize("partition", [*months(1), "_default"])
@pytest.mark.parametrize("table", TABLES)
def test_a_partition_keeps_its_rows(table: str, partition: str, statement: str) -> None:
    with pytest.raises(DatabaseError, match="history is kept"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format(table + partition))


def test_a_trigger_that_a_migration_changes_is_changed_on_the_partitions() -> None:
    function = rows("SELECT proname FROM pg_proc WHERE proname ~ 'pgtrigger_append_only' LIMIT 1")[0]
    added = "CREATE TRIGGER another BEFORE TRUNCATE ON orchestrator_auditevent EXECUTE FUNCTION"
    named = "SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'another' ORDER BY 1"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"{added} {function}()")
        partitions.create_ahead()
        assert len(rows(named)) == 6
        cursor.execute("DROP TRIGGER another ON orchestrator_auditevent")
    partitions.create_ahead()

    assert rows(named) == []


@pytest.fixture(params=[WEB_ROLE, RECONCILER_ROLE])
def session(request: pytest.FixtureRequest, django_db_setup: None) -> Iterator[psycopg.Connection]:
    with psycopg.connect(environment(request.param)["DATABASE_URL"], autocommit=True) as session:
        yield session


@pytest.mark.parametrize("verb", ["SELECT FROM {0}", "INSERT INTO {0} DEFAULT VALUES", "DROP TABLE {0}"])
def test_no_process_reaches_a_partition_past_its_table(session: psycopg.Connection, verb: str) -> None:
    for table in TABLES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(verb.format(f"{table}_default").encode())


def test_a_reconciler_may_create_partitions_and_choose_none(session: psycopg.Connection) -> None:
    def may(call: str) -> bool:
        try:
            session.execute(f"SELECT {call}".encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    assert may("smartops_create_partitions()") is (session.info.user == RECONCILER_ROLE)
    assert not may("smartops_create_partition('orchestrator_action', 'id', '2001-01-01')")
    assert not may("smartops_copy_triggers('orchestrator_action')")


def test_a_missing_partition_waits_a_quarter_of_a_second_for_its_lock() -> None:
    with connect() as other, other.transaction():
        other.execute("SELECT FROM orchestrator_action_default")  # as any query without bounds does
        committed(partitions.first_id(timezone.now() - timedelta(days=800)))

        with pytest.raises(DatabaseError, match="lock timeout"), transaction.atomic():
            partitions.create_ahead()


def test_the_first_id_of_a_moment_begins_with_its_milliseconds() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)

    assert partitions.first_id(at) == UUID("01a19467-e800-0000-0000-000000000000")
    assert rows("SELECT smartops_first_id(%s)", at) == [str(partitions.first_id(at))]
    assert rows("SELECT smartops_month(%s)", partitions.first_id(at)) == ["2026-11-01 00:00:00"]
    assert rows("SELECT smartops_month(%s)", UUID(int=partitions.first_id(at).int - 1)) == ["2026-10-01 00:00:00"]


def test_a_plan_for_all_partitions_is_for_one_statement_only() -> None:
    mode = "SHOW plan_cache_mode"
    threshold = connection.connection.prepare_threshold

    with partitions.generic_plan():
        with CaptureQueriesContext(connection) as queries, partitions.generic_plan():
            pass
        assert not queries.captured_queries, "one within another"
        assert rows(mode) == ["force_generic_plan"]
        assert connection.connection.prepare_threshold == 0
    assert rows(mode) == ["auto"]
    assert connection.connection.prepare_threshold == threshold


def test_an_active_action_is_found_however_old_it_is() -> None:
    old = an_action(id=partitions.first_id(timezone.now() - timedelta(days=300)))
    first, last = ACTIVE_IDS()

    assert first == old.pk
    assert last > partitions.first_id(timezone.now())


def test_a_workload_is_free_when_its_action_ends() -> None:
    action = an_action()
    assert ActiveAction.objects.get().action == action

    type(action).objects.update(state=ActionState.CANCELLED, finished_at=timezone.now())

    assert not ActiveAction.objects.exists()


def test_an_idempotency_key_names_its_action_also_after_its_end() -> None:
    action = an_action("succeeded", requested_by="token:ana", idempotency_key="k")

    assert IdempotencyKey.objects.get(requested_by="token:ana", key="k").action == action
