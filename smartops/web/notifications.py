"""Notifications of changed rows in the web process: one LISTEN connection per event loop.

Notifications are hints. A follower reads the row first, and again after each notification. A lost connection may have
lost notifications, so after each connect every row counts as changed.
"""

import asyncio
import logging
import time
from asyncio import AbstractEventLoop, Event
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg

from signals.lib import availability
from signals.lib.notifications import CHANNEL, connection_parameters, parse

MIN_PAUSE, MAX_PAUSE = 0.1, 5.0  # seconds between two attempts to connect
EXAMINE = 1.0  # seconds after which a refusal by the database makes the listener connect again

Row = tuple[str, str]
logger = logging.getLogger(__name__)


@asynccontextmanager
async def follow(model: str, pk: object) -> AsyncIterator[Event]:
    """An event that is set whenever the row may have changed: by a notification for the row or its model, and after
    each connect. Clear it, read the row, then wait: in this order no change is missed."""
    row, followers = (model, str(pk)), listening().followers
    event = Event()
    followers.setdefault(row, set()).add(event)
    try:
        yield event
    finally:
        followers[row].discard(event)
        if not followers[row]:
            del followers[row]


@contextmanager
def changes() -> Iterator["Changes"]:
    """All changes, from now on."""
    listener, found = listening(), Changes()
    listener.all_changes.add(found)
    try:
        yield found
    finally:
        listener.all_changes.discard(found)


class Changes:
    """Which rows have changed since they were taken last. A pk of "" stands for several rows of the model."""

    def __init__(self) -> None:
        self._rows: set[Row] | None = set()
        self._pending = Event()

    def add(self, row: Row) -> None:
        if self._rows is not None:
            self._rows.add(row)
        self._pending.set()

    def add_all(self) -> None:
        self._rows = None
        self._pending.set()

    async def take(self, until: float | None = None) -> set[Row] | None:
        """Waits for the next change, until a time of the loop's clock. None: every row may have changed."""
        try:
            async with asyncio.timeout_at(until):
                await self._pending.wait()
        except TimeoutError:
            return set()
        self._pending.clear()
        rows, self._rows = self._rows, set()
        return rows


def listening() -> "Listener":
    """The listener of the running loop; the first call starts it, and it ends with the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _listeners:
        _listeners[loop] = Listener()
    return _listeners[loop]


class Listener:
    """Sets the events of the followers of a row at once, and adds each changed row to all `Changes`. `connected`: from
    the time at which the database listens until the connection is lost."""

    def __init__(self) -> None:
        self.followers: dict[Row, set[Event]] = {}
        self.all_changes: set[Changes] = set()
        self.connected = False
        self._task = asyncio.create_task(self._run(), name="changes")

    async def _run(self) -> None:
        try:
            await self._listen()
        finally:
            del _listeners[asyncio.get_running_loop()]

    async def _listen(self) -> None:
        """Connects again as `signals.lib.notifications.listen` does."""
        pause = MIN_PAUSE
        while True:
            try:
                session = await psycopg.AsyncConnection.connect(**connection_parameters())
                try:
                    await session.execute(f"LISTEN {CHANNEL}")
                    connected_at, pause = time.monotonic(), MIN_PAUSE
                    self._reconnected()
                    while not availability.lost_since(connected_at):
                        async for note in session.notifies(timeout=EXAMINE):
                            for row in parse(note.payload):
                                self._received(row)
                finally:  # as a context manager, it awaits a rollback first, which a second cancellation interrupts
                    self.connected = False
                    await session.close()
            except psycopg.Error as error:  # also an InternalError: a standby refuses LISTEN
                if pause == MIN_PAUSE:
                    cause = availability.describe(error)
                    logger.warning("LISTEN failed; waiting callers get no notifications until it succeeds: %s", cause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)

    def _received(self, row: Row) -> None:
        model, pk = row
        self._wake([row] if pk else [key for key in self.followers if key[0] == model])
        for changes in self.all_changes:
            changes.add(row)

    def _reconnected(self) -> None:
        self.connected = True
        self._wake(list(self.followers))
        for changes in self.all_changes:
            changes.add_all()

    def _wake(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for event in self.followers.get(row, ()):
                event.set()


_listeners: dict[AbstractEventLoop, Listener] = {}
