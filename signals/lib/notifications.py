"""NOTIFY and LISTEN between processes: `action:<id>` if an action changed, `signal:<id>,<id>` if signals did,
`setting:<table>` if a row of a recorded table did; and to reconcilers `pending:`, if an action became pending. Without
ids, there are too many.

Triggers of the tables send them. A notification is only a hint: a process that misses one finds the row with its next
poll.
"""

import logging
import select
import time
from collections.abc import Callable, Iterable, Iterator
from math import ceil
from typing import Any, Protocol

import psycopg
from django.conf import settings
from django.db import connection

from signals.lib import availability

log = logging.getLogger(__name__)

CHANNEL = "smartops"
PENDING = "smartops_pending"  # of its own, because only reconcilers need it
PAUSE = 1.0  # seconds between two attempts to connect


def connection_parameters() -> dict[str, Any]:
    """Parameters of `psycopg.connect` for a connection outside of Django's pool. LISTEN needs a server session of its
    own, which PgBouncer does not give in transaction mode: `DATABASE_LISTEN_URL` bypasses it."""
    if settings.DATABASE_LISTEN_URL:
        parameters: dict[str, Any] = {"conninfo": settings.DATABASE_LISTEN_URL}
    else:
        parameters = connection.get_connection_params()
        for ours in ("pool", "cursor_factory", "context", "prepare_threshold", "server_side_binding"):
            parameters.pop(ours, None)
    return availability.DEADLINES | parameters | {"autocommit": True}


def connect() -> "psycopg.Connection[tuple[object, ...]]":
    """A connection that may LISTEN. Raises psycopg.OperationalError."""
    return psycopg.connect(**connection_parameters())


class Stop(Protocol):
    def is_set(self) -> bool:
        """Whether nothing more is wanted."""


def listen(stop: Stop, *, timeout: Callable[[], float], wake_fd: int) -> Iterator[list[tuple[str, str]]]:
    """Yields the notifications as (model, pk) pairs. Yields an empty list after each connect and reconnect, after
    `timeout()` seconds without a notification, and when `wake_fd` becomes readable: then the caller queries the tables.
    Connects again if the database refuses its service to another connection of this process: after a failover, the
    former server may keep this one open. Ends when `stop` is set."""
    failing = False
    while not stop.is_set():
        try:
            with connect() as session:
                session.execute(f"LISTEN {PENDING}")
                session.execute(f"LISTEN {CHANNEL}")
                connected_at, failing = time.monotonic(), False
                yield []
                while not (stop.is_set() or availability.lost_since(connected_at)):
                    wait_readable([session.fileno(), wake_fd], timeout())
                    yield [row for note in session.notifies(timeout=0) for row in parse(note.payload)]
        except psycopg.Error as error:  # also an InternalError: a standby refuses LISTEN
            if not failing:
                failing = True
                log.warning("LISTEN failed; the tables are polled until it succeeds: %s", availability.describe(error))
            connect_at = time.monotonic() + PAUSE
            while not stop.is_set() and (left := connect_at - time.monotonic()) > 0:
                yield []
                wait_readable([wake_fd], min(left, timeout()))


def wait_readable(fds: Iterable[int], seconds: float) -> None:
    """Until one of the file descriptors can be read, or for so long. `select` would take none above 1023."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    poller.poll(ceil(seconds * 1000))


def parse(payload: str) -> list[tuple[str, str]]:
    """(model, pk) of each row. The pk is "" if the notification is for an unknown number of rows."""
    model, _, pks = payload.partition(":")
    return [(model, pk) for pk in pks.split(",")]
