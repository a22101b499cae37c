"""Websockets that only read: hundreds of them in one thread, at little cost."""

import asyncio
import base64
import os
from collections.abc import Callable
from urllib.parse import quote

ACCEPTED = b"HTTP/1.1 101"


class Socket:
    """An open page of the console. `received` is called with each text message."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received

    async def open(self, address: tuple[str, int], page: str, session: str) -> None:
        self._reader, self._writer = await asyncio.open_connection(*address)
        host = f"{address[0]}:{address[1]}"
        self._writer.write(
            (
                f"GET /console/changes?page={quote(page, safe='')} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nCookie: sessionid={session}\r\n\r\n"
            ).encode()
        )
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(ACCEPTED):
            raise RuntimeError(f"The websocket was refused: {answer[:200]!r}")
        self._task = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    async def _read(self) -> None:
        while True:
            kind, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._reader.readexactly(8), "big")
            payload = await self._reader.readexactly(length)
            if kind & 15 == 1:
                self._received(payload)
            elif kind & 15 == 9:  # a ping is answered with a masked pong
                self._writer.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
