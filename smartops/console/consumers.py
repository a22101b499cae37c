"""The websocket of an open page of the console. `?page=` is the address of the page.

Its messages are JSON objects (docs/adr/0053-the-socket-sends-what-changed.md):
- `{"content": html, "rows": [id], "listed": bool}`: the elements that htmx replaces; the changed rows that the page is
  about, and whether they belong to its list: then it announces those that it does not show
- `{"refresh": seconds, "rows": [id], "content": html}`: the page has to fetch itself, within so many seconds; until
  then it shows the content, if there is any
- `{"age": time, "content": html}`: everything until that time has been sent; the state of the reconcilers
"""

import asyncio
import logging
import random
from asyncio import Task
from collections import Counter
from enum import IntEnum
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error

from signals import actors
from smartops.console.access import user_of_session
from smartops.console.feed import feed
from smartops.console.live import Page
from smartops.people.access import Access, Right, access_of
from smartops.people.second_factor import is_missing
from smartops.web import access_log
from smartops.web.backlog import is_behind
from smartops.web.peers import peer_of_socket

log = logging.getLogger(__name__)

RECHECK = 30.0  # seconds between two checks of the session and the account

_open: Counter[Any] = Counter()  # sockets of this process, by the id of the user


class Close(IntEnum):
    """Why the socket was closed: codes for private use, as autobahn sends no other. Before the socket is accepted, the
    client sees a 403 instead."""

    NOT_ALLOWED = 4403  # the session has ended, or the account is not active, has no role or lacks a second factor
    NO_PAGE = 4404  # `page` is not the address of a page of the console
    TOO_MANY = 4429
    UNAVAILABLE = 4503  # the database is: try again


class ChangesConsumer(AsyncWebsocketConsumer):
    """Messages of the client are ignored."""

    page: Page
    access: Access
    missed = False
    _counted: Any = None  # the id of the user whose socket this is, while it counts
    _recheck: Task[None] | None = None

    async def connect(self) -> None:
        user: Any = self.scope["user"]
        access = await _access_of(user)
        if not access.has(Right.READ):
            await self._refuse(Close.NOT_ALLOWED, user)
            return
        address = parse_qs(self.scope["query_string"].decode()).get("page", [""])[0]
        page = Page.at(address.removeprefix(self.scope.get("root_path", "")))
        if page is None:
            await self._refuse(Close.NO_PAGE, user)
            return
        if _open[user.pk] >= settings.SMARTOPS_SOCKETS_PER_USER:
            await self._refuse(Close.TOO_MANY, user)
            return
        self._counted = user.pk
        _open[user.pk] += 1
        self.page, self.access = page, access
        await self.accept()
        await feed(self.page).join(self)
        self._recheck = asyncio.create_task(self._check_again(), name="recheck of a socket")

    @property
    def is_behind(self) -> bool:
        return is_behind(self.scope)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the signature is the consumer's
        self._release()
        if self._recheck:
            self._recheck.cancel()

    async def _check_again(self) -> None:
        """A sign-out, another password, or the loss of all roles closes the socket. So does a failed check: the page
        connects again when it can be made. A socket with other roles goes on with them, and its page fetches itself."""
        wait = RECHECK * random.random()  # noqa: S311 - those that connect at once are not checked at once
        while True:
            await asyncio.sleep(wait)
            wait = RECHECK
            try:
                user = await user_of_session(self.scope["session"].session_key)
                access = await _access_of(user)
            except Exception as error:
                if not isinstance(error, Error):  # an outage of the database is in the log already
                    log.exception("The account of a websocket could not be checked; the websocket is closed")
                self._release()
                await self.close(int(Close.UNAVAILABLE))
                return
            if not access.has(Right.READ) or user.pk != self._counted:
                await self._refuse(Close.NOT_ALLOWED, self.scope["user"], logging.INFO)
                return
            if access != self.access:
                self.access = access
                await feed(self.page).join(self)

    async def _refuse(self, code: Close, user: Any, level: int = logging.WARNING) -> None:
        access_log.record(
            "websocket refused" if self._counted is None else "websocket closed",
            level,
            actor=actors.user(name) if (name := user.get_username()) else "",
            reason=code.name.lower(),
            path=f"WEBSOCKET {self.scope['path']}",
            peer=peer_of_socket(self.scope),
        )
        self._release()
        await self.close(int(code))  # autobahn takes no subclass of int

    def _release(self) -> None:
        if self._counted is not None:
            feed(self.page).leave(self)
            _open[self._counted] -= 1
            if not _open[self._counted]:
                del _open[self._counted]
            self._counted = None


async def _access_of(user: Any) -> Access:
    return await database_sync_to_async(usable_access)(user)


def usable_access(user: Any) -> Access:
    """None while the account has to set up its second factor."""
    return Access() if is_missing(user) else access_of(user)
