"""Notifications between processes: hints that a row changed, `action:<id>` or `signal:`, which means some of them.
Triggers of the two tables send them. Rows are the truth; whoever misses a hint finds the row by its slow poll."""

import select
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection

CHANNEL = "smartops"


def connection_parameters() -> dict[str, Any]:
    """Of a connection outside Django's pool: who listens must stay on one server session (mind PgBouncer)."""
    if settings.DATABASE_LISTEN_URL:
        parameters: dict[str, Any] = {"conninfo": settings.DATABASE_LISTEN_URL}
    else:
        parameters = connection.get_connection_params()
        for ours in ("pool", "cursor_factory", "context", "prepare_threshold", "server_side_binding"):
            parameters.pop(ours, None)
    return parameters | {"autocommit": True, "connect_timeout": 5, "keepalives_idle": 15, "keepalives_interval": 5}


def connect() -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(**connection_parameters())


def listen(stop: Event, *, timeout: Callable[[], float], wake_fd: int) -> Iterator[list[tuple[str, str]]]:
    """Yields what was notified, as (model, pk) pairs; an empty list after `timeout()` seconds of silence, after each
    (re-)connect, and when `wake_fd` becomes readable: a moment to look at the tables. Ends when `stop` is set."""
    while not stop.is_set():
        try:
            with connect() as session:
                session.execute(f"LISTEN {CHANNEL}")
                yield []
                while not stop.is_set():
                    select.select([session.fileno(), wake_fd], [], [], timeout())
                    yield [parse(note.payload) for note in session.notifies(timeout=0)]
        except psycopg.OperationalError:
            yield []
            stop.wait(1)


def parse(payload: str) -> tuple[str, str]:
    model, _, pk = payload.partition(":")
    return model, pk
