"""The history of settings: who changed what people set, when, from where and why.

The trigger `recorded` (signals/lib/triggers.py) writes it, for every statement of every role. A table is added by one
line: `triggers = [*triggers.recorded()]`.
"""

from typing import Any

import pgtrigger
from django.db import models
from django.db.models import Q

from signals.lib import columns, triggers
from signals.lib.constraints import are_actors


class SettingChange(models.Model):
    """One row of a recorded table that was inserted, changed or deleted.

    `key`: its primary key before the change. `actor`: the typed actor that the application has set for the transaction
    (signals/lib/acting.py); without one, `system:` and the login in the database. `login`: that login, always.
    `address`: of the client; of its connection to the database without an actor. `before` is null for an insert,
    `after` for a delete: the columns as a JSON object, in which a secret reads "secret", or "secret, changed".
    `transaction_id`: changes that were made together have the same (pg_current_xact_id).
    """

    at = models.DateTimeField()
    table_name = models.CharField(max_length=63)
    key = models.CharField(max_length=255)
    operation = models.CharField(max_length=6, choices=[(one, one) for one in ("insert", "update", "delete")])
    actor = models.TextField()
    login = models.CharField(max_length=63)
    address = models.TextField()
    reason = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    transaction_id = models.BigIntegerField()

    class Meta:
        verbose_name = "change of a setting"
        verbose_name_plural = "changes of settings"
        indexes = [
            models.Index(fields=["key", "table_name", "-id"], name="setting_change_of_row"),
            models.Index(fields=["table_name", "-id"], name="setting_change_of_table"),
            models.Index(fields=["actor", "-id"], name="setting_change_by_actor"),
            models.Index(fields=["at"], name="setting_change_at"),
        ]
        constraints = [are_actors("setting_change_names_actor", "actor")]
        triggers = [
            triggers.append_only(),
            triggers.OwnersTrigger(
                name="next_settings",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func="""
                    INSERT INTO signals_settingsversion AS current (id, number) VALUES (1, 1)
                    ON CONFLICT (id) DO UPDATE SET number = current.number + 1;
                    RETURN NULL;
                """,
            ),
            triggers.Unswitched(
                name="announce_setting",
                level=pgtrigger.Row,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func="PERFORM pg_notify('smartops', 'setting:' || NEW.table_name); RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation} of {self.table_name} {self.key}"

    @property
    def differences(self) -> list[tuple[str, Any, Any]]:
        """Column, value before and value after, of the columns that differ. A row that did not exist has None."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*before, *after])
        return [(one, before.get(one), after.get(one)) for one in names if before.get(one) != after.get(one)]

    @property
    def summary(self) -> str:
        """“changed guardrail setting”."""
        verb = {"insert": "created", "update": "changed", "delete": "deleted"}[self.operation]
        return f"{verb} {columns.noun(self.table_name)}"

    @property
    def labelled_differences(self) -> list[tuple[str, str, str]]:
        """The differences in the words of the form."""
        table, display = self.table_name, columns.display
        return [
            (columns.label(table, name), display(table, name, before), display(table, name, after))
            for name, before, after in self.differences
        ]


def changes_of(row: models.Model) -> "models.QuerySet[SettingChange]":
    """The history of a row and of what it was granted or made a member of, newest first."""
    of_row = Q(table_name=row._meta.db_table, key=str(row.pk))
    for field in row._meta.many_to_many:
        column: str = field.m2m_column_name()
        linked = Q.create([(f"{when}__{column}", row.pk) for when in ("before", "after")], connector=Q.OR)
        of_row |= Q(table_name=field.m2m_db_table()) & linked
    return SettingChange.objects.filter(of_row).order_by("-id")


class SettingsVersion(models.Model):
    """One row that counts the changes, in the transactions that make them: who reads settings and the version in one
    statement knows by the version whether they have changed since. An id of SettingChange would not do: ids are given
    before the commit. No row: nothing was changed yet."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    number = models.PositiveBigIntegerField()

    class Meta:
        triggers = [triggers.kept()]  # a count that began again would repeat versions

    def __str__(self) -> str:
        return str(self.number)
