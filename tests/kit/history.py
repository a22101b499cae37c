"""What no process may do, and a test may: as the owner of the tables it disables the triggers that keep history."""

from collections.abc import Iterator
from contextlib import contextmanager

import pgtrigger
import pytest
from django.db import connection, transaction
from django.db.backends.postgresql.operations import DatabaseOperations

from signals.lib.triggers import Refuse

# The transaction of a test may have locked workloads, and waits 250 ms since. That is shorter than `deadlock_timeout`,
# after which an autovacuum gives way.
PATIENCE = "SET LOCAL lock_timeout = '15s'"


def guarded() -> list[str]:
    """The tables with such a trigger, and their partitions."""
    tables = sorted({model._meta.db_table for model, trigger in pgtrigger.registered() if isinstance(trigger, Refuse)})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(p.relid::text, wanted.name) FROM unnest(%s::text[]) wanted(name) "
            "LEFT JOIN LATERAL pg_partition_tree(wanted.name::regclass) p ON true",
            [tables],
        )
        return [name for [name] in cursor.fetchall()]


def switched(how: str) -> list[str]:
    """Statements; `how`: ENABLE or DISABLE. All triggers, also those that write the timeline."""
    # Foreign keys are checked at the end of a transaction: until then their tables cannot be altered.
    return ["SET CONSTRAINTS ALL IMMEDIATE", *(f"ALTER TABLE {table} {how} TRIGGER USER" for table in guarded())]


@contextmanager
def rewritable() -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PATIENCE)
        for statement in switched("DISABLE"):
            cursor.execute(statement)
        yield
        for statement in [*switched("ENABLE"), "SET CONSTRAINTS ALL DEFERRED"]:
            cursor.execute(statement)


def allow_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests with transactions end with `flush`, which truncates all tables: on any connection, of any thread."""
    execute = DatabaseOperations.execute_sql_flush

    def flush(operations: DatabaseOperations, statements: list[str]) -> None:
        execute(operations, [*switched("DISABLE"), *statements, *switched("ENABLE")])

    monkeypatch.setattr(DatabaseOperations, "execute_sql_flush", flush)
