"""What other processes change, as this one hears of it: one LISTEN connection per event loop.

Notifications are hints. Whoever follows a row looks at it first, and again after each hint; after a lost connection
everything counts as changed.
"""

import asyncio
import logging
from asyncio import AbstractEventLoop, Event
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from channels.layers import get_channel_layer

from signals.lib.notifications import CHANNEL, connection_parameters, parse

GROUP = "changes"
INTERVAL = 0.25  # seconds between two messages to the group: the first of a burst leaves at once
MAX_ROWS = 50  # in one message: beyond, the models alone are named
MIN_PAUSE, MAX_PAUSE = 0.1, 5.0  # seconds between two attempts to connect

Row = tuple[str, str]
logger = logging.getLogger(__name__)


@asynccontextmanager
async def follow(model: str, pk: object) -> AsyncIterator[Event]:
    """An event that is set whenever the row may have changed: by a notification for it or for its model, and after
    each connect. Who waits clears it, then looks at the row, then waits."""
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
    """Sets the events of those who follow a row, at once, and tells the group `changes`, a burst at a time:
    `{"type": "changed", "rows": [[model, pk], …]}`. A pk of "" means several rows, no rows at all: look again."""

    def __init__(self) -> None:
        self.followers: dict[Row, set[Event]] = {}
        self._changed: set[Row] = set()
        self._missed = False
        self._news = Event()
        self._task = asyncio.create_task(self._run(), name="changes")

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._tell())
        finally:
            del _listeners[asyncio.get_running_loop()]

    async def _listen(self) -> None:
        pause = MIN_PAUSE
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**connection_parameters()) as session:
                    await session.execute(f"LISTEN {CHANNEL}")
                    pause = MIN_PAUSE
                    self._look_again()
                    async for note in session.notifies():
                        self._hear(parse(note.payload))
            except psycopg.OperationalError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)

    def _hear(self, row: Row) -> None:
        model, pk = row
        heard = [row] if pk else [key for key in self.followers if key[0] == model]
        self._wake(heard)
        self._changed.add(row)
        self._news.set()

    def _look_again(self) -> None:
        self._wake(list(self.followers))
        self._missed = True
        self._news.set()

    def _wake(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for event in self.followers.get(row, ()):
                event.set()

    async def _tell(self) -> None:
        layer = get_channel_layer()
        assert layer is not None
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await layer.group_send(GROUP, {"type": "changed", "rows": self._burst()})
            except Exception:
                logger.exception("the channel layer failed")  # it must not deafen those who follow a row
            await asyncio.sleep(INTERVAL)

    def _burst(self) -> list[Any]:
        rows = set() if self._missed else self._changed
        if len(rows) > MAX_ROWS:
            rows = {(model, "") for model, _ in rows}
        self._changed, self._missed = set(), False
        return [list(row) for row in sorted(rows)]


_listeners: dict[AbstractEventLoop, Listener] = {}
