"""Connections that use server-side prepared statements, unless a pooler is between."""

from typing import Any, Self

import psycopg

PREPARE_AFTER = 5  # executions of a statement, then it is prepared


class Session(psycopg.Connection[Any]):
    """Prepares repeated statements. Not through a pooler: there the next statement may run in another server session,
    where a prepared statement of the same name may be a different one."""

    @classmethod
    def connect(cls, *conninfo: str, **parameters: Any) -> Self:
        session = super().connect(*conninfo, **parameters)
        session.prepare_threshold = PREPARE_AFTER if is_direct(session) else None
        return session


def is_direct(session: psycopg.Connection[Any]) -> bool:
    """Whether no pooler is between. A pooler sends a process id that is not the one of the server session."""
    row: Any = session.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return int(row[0]) == session.info.backend_pid
