"""A PostgreSQL connection that detects a pooler between itself and the server."""

from typing import Any, Self

import psycopg

PREPARE_AFTER = 5  # executions of a statement until it is prepared


class Session(psycopg.Connection[Any]):
    """Prepares repeated statements, unless the connection leads through a pooler. Behind a pooler the next statement
    may run in another server session, in which the name of a prepared statement belongs to another client."""

    @classmethod
    def connect(cls, *conninfo: str, **parameters: Any) -> Self:
        session = super().connect(*conninfo, **parameters)
        session.prepare_threshold = PREPARE_AFTER if is_direct(session) else None
        return session


def is_direct(session: psycopg.Connection[Any]) -> bool:
    """Whether the server reports the process id of the handshake. A pooler invents the one of the handshake."""
    row: Any = session.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return int(row[0]) == session.info.backend_pid
