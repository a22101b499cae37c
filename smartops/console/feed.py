"""Sends the open pages of this process what has changed, and every two seconds how old it is.

Each process listens to the database itself. What pages with the same address and the same access get is made once.
"""

import asyncio
import json
import logging
from asyncio import AbstractEventLoop
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error
from django.template.loader import render_to_string
from django.urls import set_script_prefix

from smartops.console import topics
from smartops.console.freshness import Freshness, freshness, visible_to
from smartops.console.live import Changed, Page, Update, partial
from smartops.people.access import Access
from smartops.web import notifications

log = logging.getLogger(__name__)

INTERVAL = 0.05  # seconds between two bursts, or as long as the last one took: half of the time is for requests
TICK = 2.0  # seconds between two messages about the age of the data
FETCHES = 25  # pages a second that are asked to fetch themselves
AT_ONCE = 10  # so few do not wait for each other

Key = tuple[Page, Access]


class Reader(Protocol):
    """A socket. `access` is what its person may see now."""

    page: Page
    access: Access

    async def send(self, text_data: str) -> None: ...


class Feed:
    """Of one event loop, with which it ends. `readers`: the accepted sockets."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self._arriving = 0.0  # when the last page that connected may fetch itself
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
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_changes())
                tasks.create_task(self._send_age())
        finally:
            del _feeds[asyncio.get_running_loop()]

    async def _send_changes(self) -> None:
        loop = asyncio.get_running_loop()
        with notifications.changes() as changes:
            while True:
                rows = await changes.take()
                began = loop.time()
                groups, changed = self._groups(), Changed(rows)
                for costly in (False, True):
                    keys = [key for key in groups if topics.is_costly(key[0]) is costly]
                    if keys:
                        await self._publish(groups, await _updates(keys, changed))
                await asyncio.sleep(max(INTERVAL, loop.time() - began))

    async def _send_age(self) -> None:
        """Nothing while the database does not answer, or does not notify: after some seconds, no page calls itself live
        any more."""
        while True:
            await asyncio.sleep(TICK)
            if self.readers and notifications.listening().connected and (now := await _freshness()):
                texts: dict[tuple[Access, bool], str] = {}
                for reader in list(self.readers):
                    key = reader.access, reader.page.name == "overview"
                    if key not in texts:
                        texts[key] = _age(visible_to(reader.access, now), heartbeats=key[1])
                    await _send(reader, texts[key])

    def _groups(self) -> dict[Key, list[Reader]]:
        groups: dict[Key, list[Reader]] = defaultdict(list)
        for reader in self.readers:
            groups[reader.page, reader.access].append(reader)
        return groups

    async def _publish(self, groups: Mapping[Key, list[Reader]], updates: Mapping[Key, Update | None]) -> None:
        fetching = sum(len(groups[key]) for key, update in updates.items() if update and update.refresh)
        within = max(0, fetching - AT_ONCE) / FETCHES
        for key, update in updates.items():
            if update is None:
                continue
            message: dict[str, Any] = {"rows": update.rows}
            message |= {"refresh": within} if update.refresh else {"content": update.content, "listed": update.listed}
            text = json.dumps(message)
            for reader in groups[key]:
                await _send(reader, text)


def feed() -> Feed:
    """The feed of the running loop; the first call starts it."""
    loop = asyncio.get_running_loop()
    if loop not in _feeds:
        _feeds[loop] = Feed()
    return _feeds[loop]


async def _send(reader: Reader, text: str) -> None:
    try:
        await reader.send(text)
    except Exception:  # the other sockets must not be affected; one that is being closed raises none
        log.warning("An open page was not sent a change: it may show old data until it is loaded again", exc_info=True)


async def _updates(keys: Collection[Key], changed: Changed) -> Mapping[Key, Update | None]:
    try:
        return await database_sync_to_async(_make)(keys, changed)
    except Exception as error:
        if not isinstance(error, Error):  # an outage of the database is in the log already
            log.exception("The changes for open pages could not be made; the pages fetch themselves")
        return dict.fromkeys(keys, Update(refresh=True))


def _make(keys: Collection[Key], changed: Changed) -> Mapping[Key, Update | None]:
    set_script_prefix(f"{settings.FORCE_SCRIPT_NAME or ''}/")
    return {(page, access): topics.update(page, access, changed) for page, access in keys}


async def _freshness() -> Freshness | None:
    try:
        return await database_sync_to_async(freshness)()
    except Error:
        return None


def _age(now: Freshness, *, heartbeats: bool) -> str:
    """`heartbeats`: the page shows each reconciler. A pass changes no row that a page is about."""
    shown = {"freshness": "console/freshness.html"}
    if heartbeats:
        shown["heartbeats"] = "console/overview/heartbeats.html"
    content = [partial(name, render_to_string(template, {"freshness": now})) for name, template in shown.items()]
    return json.dumps({"age": now.at.isoformat(), "content": "".join(content)})


def _refresh(within: float) -> str:
    return json.dumps({"rows": (), "refresh": within})


_feeds: dict[AbstractEventLoop, Feed] = {}
