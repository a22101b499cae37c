"""Two versions run on one database while the next is rolled out: the version before must be able to go on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.contrib.postgres.functions import RandomUUID
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import OperationalError, connection, models, transaction
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import (
    AddField,
    AddIndex,
    CreateModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED
from django.db.models.functions import Abs, Now
from pgtrigger.migrations import AddTrigger, RemoveTrigger
from pytest_django.fixtures import Settings

from signals.lib.notifications import connect
from signals.lib.partition_index import AddIndexByPartition
from signals.lib.partitions import PARTITION_BY
from smartops.models import SignIn
from smartops.retention import months
from tests.kit.patience import eventually

# What a version does not know, it does not miss. RunPython and RunSQL are for those who review them, and so is the
# database's part of SeparateDatabaseAndState.
HARMLESS = (AddIndex, CreateModel, AddTrigger, RemoveTrigger, RunPython, RunSQL, SeparateDatabaseAndState)
LARGE = {label.lower() for label in PARTITION_BY}
TABLES = {apps.get_model(label)._meta.db_table for label in PARTITION_BY}
OURS = [
    app.label for app in apps.get_app_configs() if app.label in ("signals", "guardrails", "orchestrator", "smartops")
]
LATER = sorted(
    (
        migration
        for (label, name), migration in MigrationLoader(None).disk_migrations.items()
        if label in OURS and not name.startswith("0001_")
    ),
    key=str,
)


def leaves_the_version_before_alone(operation: Operation) -> bool:
    """A column that the old version does not fill needs a value all the same: Django's own `default` is not one."""
    if isinstance(operation, AddField):
        return operation.field.null or operation.field.db_default is not NOT_PROVIDED
    return isinstance(operation, HARMLESS)


def works_under_a_lock(app: str, operation: Operation) -> bool:
    """It reads or writes all rows of a large table, which nobody can write to for minutes."""
    if isinstance(operation, AddIndexByPartition) or not isinstance(operation, AddIndex | AddField):
        return False
    if f"{app}.{operation.model_name_lower}" not in LARGE:
        return False
    return isinstance(operation, AddIndex) or not _is_added_in_an_instant(operation.field)


def _is_added_in_an_instant(field: "models.Field[Any, Any]") -> bool:
    """PostgreSQL stores a default once if it is the same for all rows. An index or a foreign key reads them all."""
    default = field.db_default
    constant = not hasattr(default, "resolve_expression") or isinstance(default, models.Value | Now)
    refers = field.remote_field is not None and getattr(field, "db_constraint", True)
    return constant and not (
        getattr(field, "db_index", False) or field.unique or refers or isinstance(field, models.GeneratedField)
    )


@pytest.mark.parametrize("migration", LATER, ids=str)
def test_the_version_before_can_go_on_after_a_migration(migration: Migration) -> None:
    assert [one.describe() for one in migration.operations if not leaves_the_version_before_alone(one)] == []


@pytest.mark.parametrize("migration", LATER, ids=str)
def test_a_migration_locks_no_large_table_while_it_works(migration: Migration) -> None:
    found = [one for one in migration.operations if works_under_a_lock(migration.app_label, one)]

    assert [one.describe() for one in found] == []


BY_REASON = models.Index(fields=["reason"], name="by_reason")


@pytest.mark.parametrize(
    ("operation", "locks"),
    [
        (AddIndex("Action", BY_REASON), True),
        (AddIndex("Heartbeat", BY_REASON), False),
        (AddIndexByPartition("Action", BY_REASON), False),
        (AddField("Action", "new", models.TextField(null=True)), False),
        (AddField("Action", "new", models.TextField(db_default="x")), False),
        (AddField("Action", "new", models.DateTimeField(db_default=Now())), False),
        (AddField("Action", "new", models.UUIDField(db_default=RandomUUID())), True),
        (AddField("Action", "new", models.TextField(null=True, db_index=True)), True),
        (AddField("Action", "new", models.TextField(null=True, unique=True)), True),
        (AddField("Action", "new", models.ForeignKey("Workload", models.PROTECT, null=True, db_index=False)), True),
        (
            AddField(
                "Action", "new", models.ForeignKey("Workload", models.PROTECT, db_index=False, db_constraint=False)
            ),
            False,
        ),
        (
            AddField(
                "Action",
                "new",
                models.GeneratedField(expression=Abs("attempts"), output_field=models.IntegerField(), db_persist=True),
            ),
            True,
        ),
        (AddField("Heartbeat", "new", models.TextField(null=True, db_index=True)), False),
    ],
    ids=str,
)
def test_a_change_of_a_large_table_takes_an_instant(operation: Operation, locks: bool) -> None:
    assert works_under_a_lock("orchestrator", operation) is locks


@pytest.fixture
def fresh(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The connection leads to a database without any table."""
    used = connection.settings_dict["NAME"]

    def lead_to(name: str) -> None:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # of PostgreSQL's
        connection.settings_dict["NAME"] = name

    with django_db_blocker.unblock():
        with connect() as session:
            session.execute("CREATE DATABASE fresh TEMPLATE template0")
        lead_to("fresh")
        try:
            yield
        finally:
            lead_to(used)
            with connect() as session:
                session.execute("DROP DATABASE fresh WITH (FORCE)")


LOCKS = """
    SELECT DISTINCT coalesce(parent.relname, locked.relname) FROM pg_locks
    JOIN pg_class locked ON locked.oid = relation
    LEFT JOIN pg_inherits ON inhrelid = locked.oid LEFT JOIN pg_class parent ON parent.oid = inhparent
    WHERE pid = pg_backend_pid() AND mode IN (
        'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""


@pytest.mark.usefixtures("fresh")
def test_the_sql_of_a_later_migration_locks_no_large_table() -> None:
    """What it locks is known when it is complete. An operation that takes an instant may lock its table."""
    executor = MigrationExecutor(connection)
    executor.recorder.ensure_schema()
    state, found = executor.loader.project_state(()), {}
    for migration, _ in executor.migration_plan(
        [node for node in executor.loader.graph.leaf_nodes() if node[0] in OURS]
    ):
        with transaction.atomic(), connection.cursor() as cursor:
            state = executor.apply_migration(state, migration)
            cursor.execute(LOCKS)
            if migration in LATER:
                found[str(migration)] = {table for [table] in cursor.fetchall()} & TABLES - _changed(migration)

    assert found == {str(migration): set() for migration in LATER}
    assert len(found) >= 4


def _changed(migration: Migration) -> set[str]:
    instant = (AddField, AddTrigger, RemoveTrigger, CreateModel)
    names = [
        getattr(one, "model_name", getattr(one, "name", "")) for one in migration.operations if isinstance(one, instant)
    ]
    return {f"{migration.app_label}_{name.lower()}" for name in names}


STATES = """
    SELECT relname, indisvalid FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid WHERE relname ~ '^by_actor'
"""
# A build that waits for an old transaction.
CANCEL = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index
    WHERE datname = current_database() AND phase = 'waiting for old snapshots'
"""
INSERT = """
    INSERT INTO smartops_signin (at, event, actor, address, reason, count)
    VALUES (now(), 'signed_in', 'user:ana', '', '', 1)
"""


def states(cursor: Any) -> dict[str, bool]:
    """Of the index and its parts: whether it is complete."""
    cursor.execute(STATES)
    return dict(cursor.fetchall())


class Elsewhere:
    def allow_migrate(self, *_: object, **__: object) -> bool:
        return False


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("collects", [True, False], ids=["sqlmigrate", "another database"])
def test_an_index_is_not_built_by_sqlmigrate_or_in_a_database_of_other_tables(
    settings: Settings, collects: bool
) -> None:
    if not collects:
        settings.DATABASE_ROUTERS = [Elsewhere()]
    operation = AddIndexByPartition("SignIn", models.Index(fields=["actor"], name="by_actor"))
    state = ProjectState.from_apps(apps)

    with connection.schema_editor(atomic=False, collect_sql=collects) as editor:
        operation.database_forwards("smartops", editor, state, state)

    with connection.cursor() as cursor:
        assert states(cursor) == {}
    assert [one.split(" (")[0] for one in getattr(editor, "collected_sql", [])] == (
        ['CREATE INDEX "by_actor" ON "smartops_signin"'] if collects else []
    )


@pytest.mark.django_db(transaction=True)
def test_an_index_is_built_by_partition_beside_writers_and_completed_after_an_interruption() -> None:
    operation = AddIndexByPartition("SignIn", models.Index(fields=["actor"], name="by_actor"))
    state = ProjectState.from_apps(apps)

    def build() -> None:
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards("smartops", editor, state, state)

    with connect() as old, connect() as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        try:
            with old.transaction():  # as that of a dump
                old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                old.execute("SELECT count(*) FROM smartops_signin")
                with ThreadPoolExecutor(1) as threads:
                    threads.submit(eventually, lambda: other.execute(CANCEL).rowcount == 1)
                    with pytest.raises(OperationalError, match="user request"):
                        build()
                assert [*states(cursor).values()] == [False, False], "of the table, and of the first of its months"
                other.execute(INSERT)  # the build that ended half-way keeps nobody waiting
            build()

            built = states(cursor)
            assert all(built.values())
            assert len(built) == 1 + len(months.stored(SignIn)) + 1, "of the table, its months, the others"
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("5s",)
            build()
            assert states(cursor) == built, "a repetition has nothing to do"
        finally:
            cursor.execute("DROP INDEX IF EXISTS by_actor; RESET lock_timeout")


@pytest.mark.django_db
def test_migrate_waits_five_seconds_for_a_lock_at_most() -> None:
    def timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    emit_pre_migrate_signal(verbosity=0, interactive=False, db="default")
    assert timeout() == "5s"

    emit_post_migrate_signal(verbosity=0, interactive=False, db="default", plan=[])
    assert timeout() == "0"


@pytest.mark.parametrize(
    ("field", "alone"),
    [
        (models.BooleanField(default=True), False),
        (models.BooleanField(db_default=True), True),
        (models.BooleanField(null=True), True),
    ],
    ids=["a default of Python's", "a default of the database's", "null"],
)
def test_a_new_column_has_a_value_where_nobody_gives_it_one(field: "models.Field[bool, bool]", alone: bool) -> None:
    assert leaves_the_version_before_alone(AddField("action", "new", field)) is alone
