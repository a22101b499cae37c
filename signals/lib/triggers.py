"""Triggers without a switch. Those of django-pgtrigger ask the setting `pgtrigger.ignore`, which any session may set.

The functions have a fixed search path, so that a session cannot put an operator of its own in the place of one that
they use. The tables are in the schema `public`. (docs/adr/0033-history-that-no-process-can-change.md)
"""

from typing import Any, ClassVar

import pgtrigger
from django.db.models import Model
from pgtrigger import compiler


class TriggerSql(compiler.UpsertTriggerSql):
    """What `migrate` executes. Migrations refer to this class: do not edit the template, add another class."""

    security: ClassVar[str] = "INVOKER"

    def get_template(self) -> str:
        return """
            CREATE OR REPLACE FUNCTION {pgid}() RETURNS TRIGGER
            LANGUAGE plpgsql SECURITY %s SET search_path = pg_catalog, public, pg_temp
            AS $$
                {declare}
                BEGIN
                    {func}
                END;
            $$;

            DROP TRIGGER IF EXISTS {pgid} ON {table};
            CREATE {constraint} TRIGGER {pgid}
                {when} {operation} ON {table}
                {timing}
                {referencing}
                FOR EACH {level} {condition}
                EXECUTE FUNCTION {execute};

            COMMENT ON TRIGGER {pgid} ON {table} IS '{hash}';
        """.replace("%s", self.security)


class OwnersTriggerSql(TriggerSql):
    """The function has the rights of the owner of the tables: it writes what the role of the session may not write."""

    security = "DEFINER"


class Unswitched(pgtrigger.Trigger):
    sql: ClassVar[type[TriggerSql]] = TriggerSql

    def compile(self, model: Any) -> compiler.Trigger:
        compiled = super().compile(model)
        return compiler.Trigger(name=compiled.name, sql=self.sql(**compiled.sql.kwargs))


class OwnersTrigger(Unswitched):
    sql = OwnersTriggerSql


class FSM(Unswitched, pgtrigger.FSM):
    pass


class Refuse(Unswitched):
    """Refuses the operation: every statement, or at the level of rows every row that fulfils the condition."""

    level = pgtrigger.Statement
    when = pgtrigger.Before

    def get_func(self, model: Any) -> str:  # noqa: ARG002 - the base class's
        operation = str(self.operation).lower()
        return f"RAISE EXCEPTION 'Cannot {operation} rows of %: history is kept (%)', TG_TABLE_NAME, TG_NAME;"


def append_only() -> Refuse:
    return Refuse(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate)


def never_truncated() -> Refuse:
    """For rows that change. Foreign keys of history refuse their deletion."""
    return Refuse(name="never_truncated", operation=pgtrigger.Truncate)


def unchanged(name: str, *fields: str, condition: str = "TRUE") -> Refuse:
    """Refuses other values of these fields in the rows that fulfil the condition, in SQL about OLD and NEW."""
    return Refuse(name=name, level=pgtrigger.Row, operation=pgtrigger.Update, condition=Changed(fields, condition))


class Changed(pgtrigger.Condition):
    """Some of these fields get another value, and the condition holds. Without fields: any field."""

    def __init__(self, fields: tuple[str, ...], condition: str) -> None:
        super().__init__(condition)
        self._fields = fields

    def resolve(self, model: type[Model]) -> str:
        changed = pgtrigger.AnyChange(*self._fields).resolve(model)
        return f"(({changed}) AND ({self.sql}))"
