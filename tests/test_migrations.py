"""Two versions run on one database while the next is rolled out: the version before must be able to go on."""

import pytest
from django.apps import apps
from django.db import models
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField, AddIndex, CreateModel, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED
from pgtrigger.migrations import AddTrigger, RemoveTrigger

# What a version does not know, it does not miss. RunPython and RunSQL are for those who review them.
HARMLESS = (AddIndex, CreateModel, AddTrigger, RemoveTrigger, RunPython, RunSQL)
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


@pytest.mark.parametrize("migration", LATER, ids=str)
def test_the_version_before_can_go_on_after_a_migration(migration: Migration) -> None:
    assert [one.describe() for one in migration.operations if not leaves_the_version_before_alone(one)] == []


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
