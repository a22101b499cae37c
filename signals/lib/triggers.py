"""Triggers without a switch. Those of django-pgtrigger ask the setting `pgtrigger.ignore`, which any session may set.

The functions have a fixed search path, so that a session cannot put an operator of its own in the place of one that
they use. The tables are in the schema `public`. (docs/adr/0033-history-that-no-process-can-change.md)
"""

from collections.abc import Iterable, Iterator
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


class FSM(Unswitched):
    """Refuses every other transition of `field`. The condition is the trigger's own: a function would run for each
    row."""

    level = pgtrigger.Row
    when = pgtrigger.Before
    operation = pgtrigger.Update

    def __init__(self, *, name: str, field: str, transitions: Iterable[tuple[str, str]]) -> None:
        self.field, self.transitions = field, tuple(transitions)
        allowed = ",".join(f"{here}:{there}" for here, there in self.transitions)
        moved = f"OLD.{field} || ':' || NEW.{field}"
        condition = f"OLD.{field} <> NEW.{field} AND {moved} <> ALL ('{{{allowed}}}'::text[])"
        super().__init__(name=name, condition=pgtrigger.Condition(condition))

    def get_func(self, model: Any) -> str:  # noqa: ARG002 - the base class's
        return (
            f'RAISE EXCEPTION \'Invalid transition of field "{self.field}" from "%" to "%" on table %\', '
            f"OLD.{self.field}, NEW.{self.field}, TG_TABLE_NAME;"
        )


class Recorded(OwnersTrigger):
    """Writes one SettingChange (signals/setting_changes.py) for each row that a statement inserts, changes or deletes.

    `secrets`: columns of which only a change is recorded. `volatile`: columns that the software writes, which are left
    out. `unless`: SQL about OLD, NEW, `was` and `becomes`; rows that fulfil it are not recorded."""

    name = "recorded"
    level = pgtrigger.Row
    when = pgtrigger.After
    operation = pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete

    def __init__(self, secrets: tuple[str, ...], volatile: tuple[str, ...], unless: str) -> None:
        super().__init__()
        self.secrets, self.volatile, self._unless = secrets, volatile, unless

    def get_declare(self, model: Any) -> list[tuple[str, str]]:  # noqa: ARG002 - the base class's
        return [("was", "jsonb"), ("becomes", "jsonb"), ("secret", "text")]

    def get_func(self, model: Any) -> str:
        return f"""
            was := to_jsonb(OLD) - {_array(self.volatile)};
            becomes := to_jsonb(NEW) - {_array(self.volatile)};
            IF was = becomes OR ({self._unless}) THEN RETURN NULL; END IF;
            FOREACH secret IN ARRAY {_array(self.secrets)} LOOP
                becomes := jsonb_set(becomes, ARRAY[secret], CASE
                    WHEN was -> secret <> becomes -> secret THEN '"secret, changed"' ELSE '"secret"' END::jsonb);
                was := jsonb_set(was, ARRAY[secret], '"secret"');
            END LOOP;
            INSERT INTO signals_settingchange
                (at, table_name, key, operation, actor, login, address, reason, before, after, transaction_id)
            VALUES (
                clock_timestamp(), TG_TABLE_NAME, coalesce(was, becomes) ->> '{model._meta.pk.column}', lower(TG_OP),
                coalesce(nullif(current_setting('smartops.actor', true), ''), 'system:' || session_user), session_user,
                coalesce(nullif(current_setting('smartops.address', true), ''), host(inet_client_addr()), ''),
                coalesce(current_setting('smartops.reason', true), ''),
                was, becomes, pg_current_xact_id()::text::bigint);
            RETURN NULL;
        """  # noqa: S608 - our names


def volatile(model: type[Model]) -> set[str]:
    """The columns of its table that the software writes, also while a person edits the row."""
    return {column for trigger in _recorded(model) for column in trigger.volatile}


def secrets(model: type[Model]) -> set[str]:
    return {column for trigger in _recorded(model) for column in trigger.secrets}


def _recorded(model: type[Model]) -> Iterator[Recorded]:
    for other, trigger in pgtrigger.registered():
        if isinstance(trigger, Recorded) and other._meta.db_table == model._meta.db_table:
            yield trigger


def _array(names: tuple[str, ...]) -> str:
    return f"ARRAY[{', '.join(map(repr, names))}]::text[]"


def after(
    name: str, operation: pgtrigger.Operation, func: str, condition: pgtrigger.Condition | None = None
) -> Unswitched:
    """Runs `func` once after each statement; with a condition, after each row that fulfils it."""
    level = pgtrigger.Row if condition else pgtrigger.Statement
    return Unswitched(name=name, level=level, condition=condition, when=pgtrigger.After, operation=operation, func=func)


class Refuse(Unswitched):
    """Refuses the operation: every statement, or at the level of rows every row that fulfils the condition."""

    level = pgtrigger.Statement
    when = pgtrigger.Before

    def get_func(self, model: Any) -> str:  # noqa: ARG002 - the base class's
        operation = str(self.operation).lower()
        return f"RAISE EXCEPTION 'Cannot {operation} rows of %: history is kept (%)', TG_TABLE_NAME, TG_NAME;"


def append_only() -> Refuse:
    return Refuse(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate)


def kept() -> Refuse:
    """For rows that change and stay, in tables without foreign keys to them."""
    return Refuse(name="kept", operation=pgtrigger.Delete | pgtrigger.Truncate)


def never_truncated() -> Refuse:
    """For rows that change. Foreign keys of history refuse their deletion."""
    return Refuse(name="never_truncated", operation=pgtrigger.Truncate)


def never_deleted() -> Refuse:
    """For rows that end in another way, and whose names others refer to."""
    return Refuse(name="never_deleted", operation=pgtrigger.Delete)


def recorded(
    *, secrets: tuple[str, ...] = (), volatile: tuple[str, ...] = (), unless: str = "false"
) -> list[Unswitched]:
    """For a table whose history is kept: each row that is inserted, changed or deleted, by anybody."""
    return [Recorded(secrets, volatile, unless), never_truncated()]


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
