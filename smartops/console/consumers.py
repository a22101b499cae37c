"""The websocket of the console. It sends which rows changed; the page then fetches itself with the user's session."""

import asyncio
import json
import logging
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
from smartops.console.access import may_read, user_of_session
from smartops.web import access_log, notifications
from smartops.web.peers import peer_of_socket

log = logging.getLogger(__name__)

RECHECK = 30.0  # seconds between two checks of the session and the account

_open: Counter[Any] = Counter()  # sockets of this process, by the id of the user


class Close(IntEnum):
    """Why the socket was closed. Before it is accepted, the client sees a 403 instead."""

    NOT_ALLOWED = 4403  # the session has ended, or the account is not active or has no role
    TOO_MANY = 4429
    UNAVAILABLE = 1013  # the database is: try again


class ChangesConsumer(AsyncWebsocketConsumer):
    """Sends `{"changed": [[model, pk], …]}`, at most four messages a second; an empty list stands for all rows.
    `?action=ID` limits it to that action. Messages of the client are ignored."""

    groups = [notifications.GROUP]
    _counted: Any = None  # the id of the user whose socket this is, while it counts
    _recheck: Task[None] | None = None

    async def connect(self) -> None:
        user: Any = self.scope["user"]
        if not await database_sync_to_async(may_read)(user):
            await self._refuse(Close.NOT_ALLOWED, user)
            return
        if _open[user.pk] >= settings.SMARTOPS_SOCKETS_PER_USER:
            await self._refuse(Close.TOO_MANY, user)
            return
        self._counted = user.pk
        _open[user.pk] += 1
        self.action = parse_qs(self.scope["query_string"].decode()).get("action", [""])[0]
        notifications.listening()
        await self.accept()
        self._recheck = asyncio.create_task(self._check_again(), name="recheck of a socket")

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the signature is the consumer's
        self._release()
        if self._recheck:
            self._recheck.cancel()

    async def changed(self, message: dict[str, Any]) -> None:
        if self._counted is None:  # refused, or closed: it is in the group for a moment all the same
            return
        rows = message["rows"]
        if self.action and rows:
            rows = [row for row in rows if row in (["action", self.action], ["action", ""])]
            if not rows:
                return
        await self.send(json.dumps({"changed": rows}))

    async def _check_again(self) -> None:
        """A sign-out, another password, or another role closes the socket. So does a failed check: the page connects
        again when it can be made."""
        while True:
            await asyncio.sleep(RECHECK)
            try:
                user = await user_of_session(self.scope["session"].session_key)
                allowed = user.pk == self._counted and await database_sync_to_async(may_read)(user)
            except Exception as error:
                if not isinstance(error, Error):  # an outage of the database is in the log already
                    log.exception("The account of a websocket could not be checked; the websocket is closed")
                self._release()
                await self.close(Close.UNAVAILABLE)
                return
            if not allowed:
                await self._refuse(Close.NOT_ALLOWED, self.scope["user"], logging.INFO)
                return

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
        await self.close(code)

    def _release(self) -> None:
        if self._counted is not None:
            _open[self._counted] -= 1
            if not _open[self._counted]:
                del _open[self._counted]
            self._counted = None
