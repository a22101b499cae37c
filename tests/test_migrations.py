"""Two versions run on one database while the next is rolled out: the version before must be able to go on."""

import pytest
from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection, models
from django.db.migrations import Migration
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
from django.db.models import NOT_PROVIDED
from pgtrigger.migrations import AddTrigger, RemoveTrigger

from signals.lib.partitions import PARTITION_BY

# What a version does not know, it does not miss. RunPython and RunSQL are for those who review them, and so is the
# database's part of SeparateDatabaseAndState.
HARMLESS = (AddIndex, CreateModel, AddTrigger, RemoveTrigger, RunPython, RunSQL, SeparateDatabaseAndState)
LARGE = {label.lower() for label in PARTITION_BY}
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


def builds_an_index_under_a_lock(app: str, operation: Operation) -> bool:
    """On a large table, nothing could be written for minutes."""
    return isinstance(operation, AddIndex) and f"{app}.{operation.model_name_lower}" in LARGE


@pytest.mark.parametrize("migration", LATER, ids=str)
def test_the_version_before_can_go_on_after_a_migration(migration: Migration) -> None:
    assert [one.describe() for one in migration.operations if not leaves_the_version_before_alone(one)] == []


@pytest.mark.parametrize("migration", LATER, ids=str)
def test_a_migration_locks_no_large_table_while_it_works(migration: Migration) -> None:
    found = [one for one in migration.operations if builds_an_index_under_a_lock(migration.app_label, one)]

    assert [one.describe() for one in found] == []


@pytest.mark.parametrize(("model", "locks"), [("Action", True), ("Heartbeat", False)])
def test_an_index_of_a_large_table_is_built_by_partition(model: str, locks: bool) -> None:
    operation = AddIndex(model, models.Index(fields=["reason"], name="by_reason"))

    assert builds_an_index_under_a_lock("orchestrator", operation) is locks


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
