"""A session of PostgreSQL that knows whether it is ours to keep."""

from typing import Any, Self

import psycopg

PREPARE_AFTER = 5  # executions of a statement; from then on the server keeps its plan


class Session(psycopg.Connection[Any]):
    """Prepares what is asked again and again, unless a pooler stands between: there the next statement may run in
    another server session, in which a statement of the same name is somebody else's."""

    @classmethod
    def connect(cls, *conninfo: str, **parameters: Any) -> Self:
        session = super().connect(*conninfo, **parameters)
        session.prepare_threshold = PREPARE_AFTER if is_direct(session) else None
        return session


def is_direct(session: psycopg.Connection[Any]) -> bool:
    """A pooler makes up the process id that it greets with: the real one is the pooler's own connection's."""
    row: Any = session.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return int(row[0]) == session.info.backend_pid
