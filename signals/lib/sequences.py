"""The sequences of the ids that are numbers. A dump has their values. A copy of the rows alone has not, nor has logical
replication: the next row would get the id of another one."""

import logging
from collections.abc import Iterator

from django.db import DEFAULT_DB_ALIAS, connections, transaction

log = logging.getLogger(__name__)

OWNED = """
    SELECT c.relname, a.attname, pg_get_serial_sequence(quote_ident(c.relname), a.attname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
    WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole AND NOT c.relispartition
    ORDER BY c.relname
"""
BEHIND = """
    SELECT newest FROM {sequence}, (SELECT max({column}) AS newest FROM {table}) rows
    WHERE newest > last_value OR newest = last_value AND NOT is_called
"""
ADVANCE = f"SELECT setval(%s, newest) FROM ({BEHIND}) behind"  # noqa: S608 - it is composed of constants
# No other session inserts a row, and so none advances the sequence, between the comparison and the change.
LOCK = "SET LOCAL lock_timeout = '500ms'; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"


def advance(using: str = DEFAULT_DB_ALIAS) -> Iterator[str]:
    """Sets the sequences that are behind the ids of their table to the newest id. As the owner of the tables. Yields
    what was done, in words. Raises OperationalError if another session locks such a table for half a second."""
    with connections[using].cursor() as cursor:
        cursor.execute(OWNED)
        for table, column, sequence in cursor.fetchall():
            names = {"sequence": sequence, "column": column, "table": table}
            cursor.execute(BEHIND.format(**names))
            if cursor.fetchone() is None:
                continue
            with transaction.atomic(using):
                cursor.execute(LOCK.format(**names))
                cursor.execute(ADVANCE.format(**names), [sequence])
                found = cursor.fetchone()
            if found:
                yield f"the sequence of {table}.{column} to {found[0]}: it was behind its table"


def advance_after_migrate(using: str, plan: object = None, **_: object) -> None:
    """`flush` has no plan, and leaves no rows."""
    if plan is not None:
        for behind in advance(using):
            log.warning("migrate advanced %s", behind)
