"""What no process may do, and a test may: as the owner of the tables it disables the triggers that keep history."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pgtrigger
import pytest
from django.core.management.commands import flush
from django.db import connection, transaction
from django.db.models import Model

from signals.lib.triggers import Refuse
from tests.kit.people import install_roles
from tests.kit.rules import install_default_rules

# The transaction of a test may have locked workloads, and waits 250 ms since. That is shorter than `deadlock_timeout`,
# after which an autovacuum gives way.
PATIENCE = "SET LOCAL lock_timeout = '15s'"


def guarded(*models: type[Model]) -> list[str]:
    """The tables with such a trigger, or those of these models, and their partitions."""
    of = models or [model for model, trigger in pgtrigger.registered() if isinstance(trigger, Refuse)]
    tables = sorted({model._meta.db_table for model in of})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(p.relid::text, wanted.name) FROM unnest(%s::text[]) wanted(name) "
            "LEFT JOIN LATERAL pg_partition_tree(wanted.name::regclass) p ON true",
            [tables],
        )
        return [name for [name] in cursor.fetchall()]


def switched(how: str, tables: Sequence[str]) -> list[str]:
    """Statements; `how`: ENABLE or DISABLE. All triggers, also those that write the timeline."""
    # Foreign keys are checked at the end of a transaction: until then their tables cannot be altered.
    return ["SET CONSTRAINTS ALL IMMEDIATE", *(f"ALTER TABLE {table} {how} TRIGGER USER" for table in tables)]


@contextmanager
def rewritable(*models: type[Model]) -> Iterator[None]:
    """Rows of these models, or of all: of few tables it takes a fraction of the time."""
    tables = guarded(*models)
    with transaction.atomic(), connection.cursor() as cursor:
        # Several commands cannot be prepared: by itself, psycopg prepares what a connection executes often.
        cursor.cursor.execute("; ".join([PATIENCE, *switched("DISABLE", tables)]), prepare=False)
        yield
        cursor.cursor.execute("; ".join([*switched("ENABLE", tables), "SET CONSTRAINTS ALL DEFERRED"]), prepare=False)


# All rows but those that only `migrate` writes. TRUNCATE of all tables, and ALTER TABLE for their triggers, takes ten
# times as long: a test fills few of them.
EMPTY = """
DO $$
DECLARE
    one regclass;
    filled regclass[] = '{}';
    has_rows boolean;
BEGIN
    FOR one IN
        SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0
            AND relname NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one) INTO has_rows;
        IF has_rows THEN
            filled = filled || one;
            EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', one);
        END IF;
    END LOOP;
    FOREACH one IN ARRAY filled LOOP
        EXECUTE format('DELETE FROM %s', one);
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
    FOREACH one IN ARRAY filled LOOP
        EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', one);
    END LOOP;
END $$
"""


def quicken_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """`flush`, by which a test with transactions ends, on any connection and of any thread. The rules and the roles of
    the migrations stay, for the tests that come after it in the same process."""
    monkeypatch.setattr(flush.Command, "handle", _empty)


def _empty(*_: object, **__: object) -> None:
    """Django's own looks for the tables and the `management` modules first, which takes half of the time."""
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
    install_default_rules()
    install_roles()
