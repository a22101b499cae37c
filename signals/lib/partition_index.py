"""An index of a partitioned table that is built while the table is read and written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.postgres.operations import NotInTransactionMixin
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex
from django.db.models import Model

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1"
IS_ATTACHED = """
    SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid
        WHERE inhparent = to_regclass(%s) AND indrelid = %s::regclass)
"""
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"  # an interrupted build is not


class AddIndexByPartition(NotInTransactionMixin, AddIndex):
    """AddIndex of a partitioned model, in a migration with `atomic = False`.

    A plain CREATE INDEX keeps writers of the table waiting until all partitions are read. Here each partition gets its
    index by CREATE INDEX CONCURRENTLY, and the table gets its own in an instant. After an interruption, `migrate`
    builds what is missing.
    """

    atomic = False

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        if schema_editor.collect_sql:  # sqlmigrate executes nothing, and does not know the partitions
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table, whole = model._meta.db_table, self.index.name
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NULL", [whole])
            if cursor.fetchone()[0]:
                cursor.execute(self._statement(model, schema_editor, f"ONLY {table}", whole))
            cursor.execute(PARTITIONS, [table])
            for [partition] in cursor.fetchall():
                cursor.execute(IS_ATTACHED, [whole, partition])
                if cursor.fetchone()[0]:
                    continue
                own = whole + partition.removeprefix(table)
                self._build(cursor, own, self._statement(model, schema_editor, partition, own, concurrently=True))
                cursor.execute(f"ALTER INDEX {whole} ATTACH PARTITION {own}")

    def _build(self, cursor: Any, name: str, statement: str) -> None:
        cursor.execute(IS_VALID, [name])
        found = cursor.fetchone()
        with _without_limit(cursor):
            if found == (False,):
                cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
            if found != (True,):
                cursor.execute(statement)

    def _statement(
        self, model: type[Model], schema_editor: BaseDatabaseSchemaEditor, table: str, name: str, **how: Any
    ) -> str:
        statement: Any = self.index.create_sql(model, schema_editor, **how)
        statement.parts |= {"table": table, "name": name}
        return str(statement)


@contextmanager
def _without_limit(cursor: Any) -> Iterator[None]:
    """What CONCURRENTLY waits for are old transactions, as that of a dump. It keeps no reader and no writer
    waiting in that time, so the `lock_timeout` of `migrate` is not for it."""
    cursor.execute("SHOW lock_timeout")
    [limit] = cursor.fetchone()
    cursor.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [limit])
