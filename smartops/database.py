"""A PostgreSQL connection that detects a pooler between itself and the server, and a server that is unavailable."""

from time import monotonic
from typing import Any, ClassVar, Self

import psycopg
from psycopg_pool import ConnectionPool

from signals.lib import availability

PREPARE_AFTER = 5  # executions of a statement until it is prepared
FRESH = 0.25  # seconds: where a session refuses that was opened so shortly before, another one would refuse as well


class Session(psycopg.Connection[Any]):
    """Prepares repeated statements, unless the connection leads through a pooler. Behind a pooler the next statement
    may run in another server session, in which the name of a prepared statement belongs to another client.

    An unavailable server empties the pool of the process: after a failover, the sessions in it are closed, or belong to
    a server that has become read-only. A session in use is closed when it is returned.
    """

    _drained_at: ClassVar[float] = float("-inf")
    _opened_at: float

    @classmethod
    def connect(cls, *conninfo: str, **parameters: Any) -> Self:
        opened_at = monotonic()
        session = super().connect(*conninfo, **parameters)
        session._opened_at = opened_at
        session.prepare_threshold = PREPARE_AFTER if is_direct(session) else None
        return session

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """All statements pass here."""
        try:
            return super().wait(*arguments, **options)
        except psycopg.Error as error:
            if availability.is_unavailable(error):
                availability.record(error)
                is_fresh = availability.keeps_session(error) and monotonic() - self._opened_at < FRESH
                if self._opened_at > Session._drained_at and not is_fresh:  # else the pool was emptied since
                    self.empty_pool()
            raise

    def empty_pool(self) -> None:
        """Closes the sessions of the pool that this one belongs to, and this one when it is returned."""
        if isinstance(self._pool, ConnectionPool):
            Session._drained_at = monotonic()
            self._pool.drain()


def is_direct(session: psycopg.Connection[Any]) -> bool:
    """Whether the server reports the process id of the handshake. A pooler invents the one of the handshake."""
    row: Any = session.execute("SELECT pg_backend_pid() AS pid").fetchone()
    return int(row[0]) == session.info.backend_pid
