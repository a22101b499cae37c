"""Columns and values in the words of the forms, for every table whose history is recorded."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group

from guardrails.models import GuardrailSetting
from signals.lib import columns
from signals.models import Rule, SettingChange
from smartops.audit import tables

LIMITS, RULES = GuardrailSetting._meta.db_table, Rule._meta.db_table


@pytest.mark.parametrize("table", tables.recorded())
def test_no_column_of_a_recorded_table_is_shown_as_it_is_stored(table: str) -> None:
    for field in tables.recorded()[table]._meta.concrete_fields:
        assert re.fullmatch(r"[A-Z][^_]*", columns.label(table, str(field.column))), field


def test_a_table_is_called_as_its_form_calls_it() -> None:
    tables_of = ("auth_user", "auth_group", LIMITS, "no_table")
    assert [columns.noun(table) for table in tables_of] == ["user", "group", "guardrail setting", "no_table"]


@pytest.mark.parametrize(
    ("table", "column", "value", "label", "said"),
    [
        (LIMITS, "max_replicas", 4, "Max replicas", "4"),
        (LIMITS, "cooldown_seconds", 0, "Cooldown (seconds)", "0"),
        (LIMITS, "respect_owners", False, "Respect owners", "no"),
        (LIMITS, "protected_labels", "", "Protected labels", "not set"),
        (LIMITS, "of_another_version", None, "Of another version", "not set"),
        (RULES, "params", {"delta": 1}, "Parameters", '{"delta": 1}'),
        (RULES, "params", ["b", "a"], "Parameters", '["b", "a"]'),
        ("auth_user", "groups", [Group(name="viewer"), Group(name="admin")], "Groups", "admin, viewer"),
        ("auth_user", "groups", Group.objects.none(), "Groups", "not set"),
        ("no_table", "some_column", True, "Some column", "yes"),
        (RULES, "enabled", datetime(2026, 1, 1, tzinfo=UTC), "Enabled", "2026-01-01 00:00:00 UTC"),
    ],
)
def test_a_column_and_a_value_are_words(table: str, column: str, value: Any, label: str, said: str) -> None:
    assert (columns.label(table, column), columns.display(table, column, value)) == (label, said)


def test_the_differences_of_a_change_are_words() -> None:
    change = SettingChange(table_name=LIMITS, before={"max_replicas": 8}, after={"max_replicas": 4, "mode": "approve"})

    assert change.labelled_differences == [("Max replicas", "8", "4"), ("Mode", "not set", "approve")]
