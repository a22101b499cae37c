"""Concurrent calls on connections of their own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import OperationalError, connection

from orchestrator.acts.types import NotDone, WhyNot
from signals.lib.availability import is_locked
from tests.kit.patience import PATIENCE, eventually

T = TypeVar("T")


def at_once(works: Sequence[Callable[[], T]], timeout: float = PATIENCE) -> list[T]:
    """Runs each on a thread and a connection of its own, all started together. Returns the results in order."""
    start = Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        try:
            connection.ensure_connection()
            start.wait(timeout)
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result(timeout) for future in [threads.submit(run, work) for work in works]]


def unlocked(work: Callable[[], T]) -> T:
    """The result of the work, once no other transaction holds a row for longer than the work waits for it. On a busy
    machine, one may."""
    while True:
        try:
            found = work()
        except OperationalError as error:
            if not is_locked(error):
                raise
        else:
            if not (isinstance(found, NotDone) and found.why is WhyNot.LOCKED):
                return found


def wait_for_lock() -> None:
    """Until another session of the database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(waiting)
            return bool(cursor.fetchone()[0])

    eventually(waits, "No session waits for a lock.")
