"""The sequences of the ids that are numbers. A dump has their values. A copy of the rows alone has not, nor has logical
replication: the next row would get the id of another one."""

import logging
from collections.abc import Iterator

from django.db import DEFAULT_DB_ALIAS, connections

log = logging.getLogger(__name__)

OWNED = """
    SELECT c.relname, a.attname, pg_get_serial_sequence(quote_ident(c.relname), a.attname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> ''
    WHERE c.relnamespace = 'public'::regnamespace AND c.relowner = current_user::regrole AND NOT c.relispartition
    ORDER BY c.relname
"""
# It is not set back: another session may have advanced it since.
ADVANCE = """
    SELECT setval(%s, greatest(newest, last_value)) FROM {sequence}, (SELECT max({column}) AS newest FROM {table}) rows
    WHERE newest > last_value OR newest = last_value AND NOT is_called
"""


def advance(using: str = DEFAULT_DB_ALIAS) -> Iterator[str]:
    """Sets the sequences that are behind the ids of their table to the newest id. As the owner of the tables. Yields
    what was done, in words."""
    with connections[using].cursor() as cursor:
        cursor.execute(OWNED)
        for table, column, sequence in cursor.fetchall():
            cursor.execute(ADVANCE.format(sequence=sequence, column=column, table=table), [sequence])
            if found := cursor.fetchone():
                yield f"the sequence of {table}.{column} to {found[0]}: it was behind its table"


def advance_after_migrate(using: str, plan: object = None, **_: object) -> None:
    """`flush` has no plan, and leaves no rows."""
    if plan is not None:
        for behind in advance(using):
            log.warning("migrate advanced %s", behind)
