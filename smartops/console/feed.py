"""Sends the open pages of this process what has changed, and every two seconds how old it is.

Each process listens to the database itself. What pages with the same address and the same access get is made once.
"""

import asyncio
import json
import logging
from asyncio import AbstractEventLoop
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error, connections
from django.db.models import Min
from django.template.loader import render_to_string
from django.urls import set_script_prefix

from guardrails.models import Freeze
from smartops.console import topics
from smartops.console.freshness import Freshness, freshness, visible_to
from smartops.console.live import Changed, Page, Update, partial
from smartops.people.access import Access
from smartops.web import notifications
from smartops.web.notifications import Row

log = logging.getLogger(__name__)

INTERVAL = 0.05  # seconds between two bursts, or as long as the last one took: half of the time is for requests
TICK = 2.0  # seconds between two messages about the age of the data
FETCHES = 25  # pages a second that are asked to fetch themselves
AT_ONCE = 10  # so few do not wait for each other

Key = tuple[Page, Access]
Result = TypeVar("Result")
FREEZES = ("setting", "guardrails_freeze")


class Reader(Protocol):
    """A socket. `access` is what its person may see now. `is_behind`: its client takes less than it is sent. `missed`:
    it was not sent everything."""

    page: Page
    access: Access
    missed: bool

    @property
    def is_behind(self) -> bool: ...

    async def send(self, text_data: str) -> None: ...


class Feed:
    """Of one event loop, with which it ends. `readers`: the accepted sockets."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self._arriving = 0.0  # when the last page that connected may fetch itself
        self._freeze_ends: datetime | None = None  # the next one that ends by itself
        self._running: set[str] | None = None  # the clusters that have a reconciler
        # Of its own: in the thread that all sockets share, it would wait for the checks of their accounts.
        self._thread = ThreadPoolExecutor(1, "feed")
        self._task = asyncio.create_task(self._run(), name="feed")

    async def join(self, reader: Reader) -> None:
        """The page may be older than its socket: it fetches itself. After a restart of the process, all pages come at
        once, and wait for their turns."""
        self.readers.add(reader)
        now = asyncio.get_running_loop().time()
        self._arriving = max(now - AT_ONCE / FETCHES, self._arriving) + 1 / FETCHES
        await reader.send(_refresh(max(0.0, self._arriving - now)))

    def leave(self, reader: Reader) -> None:
        self.readers.discard(reader)

    async def _run(self) -> None:
        """One after the other: an age is sent when the changes until then have been sent. After a time in which this
        process did not run, a tick is due before the notifications are read."""
        loop = asyncio.get_running_loop()
        tick = loop.time() + TICK
        try:
            with notifications.changes() as changes:
                while True:
                    await self._send_burst(await changes.take(until=tick))
                    if loop.time() >= tick:
                        now = await self._now()
                        await self._send_burst(await changes.take(until=loop.time()))
                        if now:
                            await self._send_age(now, changes)
                        tick = loop.time() + TICK
        finally:
            self._thread.submit(connections.close_all)
            self._thread.shutdown()
            for key in [key for key, feed in _feeds.items() if feed is self]:
                del _feeds[key]

    async def _send_burst(self, rows: set[Row] | None) -> None:
        if rows is not None and not rows:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._send_changes(Changed(rows))
        await asyncio.sleep(max(INTERVAL, loop.time() - began))

    async def _send_changes(self, changed: Changed) -> None:
        groups: dict[Key, list[Reader]] = defaultdict(list)
        for reader in self.readers:
            groups[reader.page, reader.access].append(reader)
        updates = await self._updates(groups, changed)
        fetching = sum(len(groups[key]) for key, update in updates.items() if update and update.refresh)
        within = max(0, fetching - AT_ONCE) / FETCHES
        for key, update in updates.items():
            if update is not None:
                text = json.dumps(_message(update, within))
                for reader in groups[key]:
                    await _send(reader, text)

    async def _updates(self, keys: Collection[Key], changed: Changed) -> Mapping[Key, Update | None]:
        try:
            return await self._in_thread(_make, keys, changed)
        except Exception as error:
            if not isinstance(error, Error):  # an outage of the database is in the log already
                log.exception("The changes for open pages could not be made; the pages fetch themselves")
            return dict.fromkeys(keys, Update(refresh=True))

    async def _in_thread(self, work: Callable[..., Result], *values: Any) -> Result:
        return await database_sync_to_async(work, thread_sensitive=False, executor=self._thread)(*values)

    async def _now(self) -> "Now | None":
        """None while the database does not answer, or does not notify: after some seconds without an age, no page calls
        itself live any more."""
        if not (self.readers and notifications.listening().connected):
            return None
        try:
            return await self._in_thread(_read_now)
        except Error:
            return None

    async def _send_age(self, now: "Now", changes: notifications.Changes) -> None:
        """Nothing notifies of a freeze that ends with its time, or of a cluster that has lost its reconcilers."""
        running = {one.cluster for one in now.freshness.beats if one.runs}
        has_ended = self._freeze_ends is not None and self._freeze_ends <= now.freshness.at
        if has_ended or self._running not in (None, running):
            changes.add(FREEZES)
        self._freeze_ends, self._running = now.freeze_ends, running
        texts: dict[tuple[Access, bool], str] = {}
        for reader in list(self.readers):
            key = reader.access, reader.page.name == "overview"
            if key not in texts:
                texts[key] = _age(visible_to(reader.access, now.freshness), heartbeats=key[1])
            await _send(reader, texts[key])


def feed(page: Page) -> Feed:
    """Of the running loop, for pages of this kind; the first call starts it. Pages that need many queries do not make
    the others wait."""
    key = asyncio.get_running_loop(), topics.is_costly(page)
    if key not in _feeds:
        _feeds[key] = Feed()
    return _feeds[key]


async def _send(reader: Reader, text: str) -> None:
    """A page whose client is slow is sent nothing until it has taken what there is; then it fetches itself. What waits
    for it neither grows nor becomes old."""
    if reader.is_behind:
        reader.missed = True
        return
    if reader.missed:
        reader.missed, text = False, _refresh(0)
    try:
        await reader.send(text)
    except Exception:  # the other sockets must not be affected; one that is being closed raises none
        log.warning("An open page was not sent a change: it may show old data until it is loaded again", exc_info=True)


def _message(update: Update, within: float) -> dict[str, Any]:
    message: dict[str, Any] = {"rows": update.rows}
    if update.content:
        message["content"] = update.content
    return message | ({"refresh": within} if update.refresh else {"listed": update.listed})


def _make(keys: Collection[Key], changed: Changed) -> Mapping[Key, Update | None]:
    set_script_prefix(f"{settings.FORCE_SCRIPT_NAME or ''}/")
    return {(page, access): topics.update(page, access, changed) for page, access in keys}


@dataclass(frozen=True, slots=True)
class Now:
    """`freeze_ends`: when the next of the freezes in force does."""

    freeze_ends: datetime | None
    freshness: Freshness


def _read_now() -> Now:
    return Now(Freeze.in_force().aggregate(ends=Min("until"))["ends"], freshness())


def _age(now: Freshness, *, heartbeats: bool) -> str:
    """`heartbeats`: the page shows each reconciler. A pass changes no row that a page is about."""
    shown = {"freshness": "console/freshness.html"}
    if heartbeats:
        shown["heartbeats"] = "console/overview/heartbeats.html"
    content = [partial(name, render_to_string(template, {"freshness": now})) for name, template in shown.items()]
    return json.dumps({"age": now.at.isoformat(), "content": "".join(content)})


def _refresh(within: float) -> str:
    return json.dumps({"rows": (), "refresh": within})


_feeds: dict[tuple[AbstractEventLoop, bool], Feed] = {}
