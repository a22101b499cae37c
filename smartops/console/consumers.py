"""The websocket of the console. It sends which rows changed; the page then fetches itself with the user's session."""

import json
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from smartops.web import notifications


class ChangesConsumer(AsyncWebsocketConsumer):
    """Sends `{"changed": [[model, pk], …]}`, at most four messages a second; an empty list stands for all rows.
    `?action=ID` limits it to that action. Messages of the client are ignored."""

    groups = [notifications.GROUP]

    async def connect(self) -> None:
        user = self.scope["user"]
        if user is None or not user.is_authenticated:
            await self.close()
            return
        self.action = parse_qs(self.scope["query_string"].decode()).get("action", [""])[0]
        notifications.listening()
        await self.accept()

    async def changed(self, message: dict[str, Any]) -> None:
        rows = message["rows"]
        if self.action and rows:
            rows = [row for row in rows if row in (["action", self.action], ["action", ""])]
            if not rows:
                return
        await self.send(json.dumps({"changed": rows}))
