"""Notifications of changed rows in the web process: one LISTEN connection per event loop.

Notifications are hints. A follower reads the row first, and again after each notification. A lost connection may have
lost notifications, so after each connect every row counts as changed.
"""

import asyncio
import logging
import time
from asyncio import AbstractEventLoop, Event
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from channels.layers import get_channel_layer

from signals.lib import availability
from signals.lib.notifications import CHANNEL, connection_parameters, parse

GROUP = "changes"
INTERVAL = 0.25  # seconds between two messages to the group; the first of a burst is sent at once
MAX_ROWS = 50  # in one message; a larger burst names only the models
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


def listening() -> "Listener":
    """The listener of the running loop; the first call starts it, and it ends with the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _listeners:
        _listeners[loop] = Listener()
    return _listeners[loop]


class Listener:
    """Sets the events of the followers of a row at once, and sends bursts of changes to the group `changes`:
    `{"type": "changed", "rows": [[model, pk], …]}`. A pk of "" stands for several rows, an empty list for all rows."""

    def __init__(self) -> None:
        self.followers: dict[Row, set[Event]] = {}
        self._changed: set[Row] = set()
        self._all_changed = False
        self._pending = Event()
        self._task = asyncio.create_task(self._run(), name="changes")

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._send_bursts())
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
                            self._received(parse(note.payload))
                finally:  # as a context manager, it awaits a rollback first, which a second cancellation interrupts
                    await session.close()
            except psycopg.Error as error:  # also an InternalError: a standby refuses LISTEN
                if pause == MIN_PAUSE:
                    cause = availability.describe(error)
                    logger.warning("LISTEN failed; waiting callers get no notifications until it succeeds: %s", cause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)

    def _received(self, row: Row) -> None:
        model, pk = row
        followed = [row] if pk else [key for key in self.followers if key[0] == model]
        self._wake(followed)
        self._changed.add(row)
        self._pending.set()

    def _reconnected(self) -> None:
        self._wake(list(self.followers))
        self._all_changed = True
        self._pending.set()

    def _wake(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for event in self.followers.get(row, ()):
                event.set()

    async def _send_bursts(self) -> None:
        layer = get_channel_layer()
        assert layer is not None
        while True:
            await self._pending.wait()
            self._pending.clear()
            try:
                await layer.group_send(GROUP, {"type": "changed", "rows": self._burst()})
            except Exception:
                logger.exception("sending to the channel layer failed")  # followers of rows must not be affected
            await asyncio.sleep(INTERVAL)

    def _burst(self) -> list[Any]:
        rows = set() if self._all_changed else self._changed
        if len(rows) > MAX_ROWS:
            rows = {(model, "") for model, _ in rows}
        self._changed, self._all_changed = set(), False
        return [list(row) for row in sorted(rows)]


_listeners: dict[AbstractEventLoop, Listener] = {}
