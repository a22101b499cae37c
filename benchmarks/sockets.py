"""Websockets that only read: hundreds of them in one thread, at little cost."""

import asyncio
import base64
import os
from collections.abc import Callable
from urllib.parse import quote

END_OF_HEADER = b"\r\n\r\n"
TEXT, PING = 1, 9


class Socket(asyncio.Protocol):
    """An open page of the console. `received` is called with each text message."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self._bytes = bytearray()
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.is_lost = False

    async def open(self, address: tuple[str, int], page: str, session: str) -> None:
        self._transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, *address)
        host = f"{address[0]}:{address[1]}"
        self._transport.write(
            (
                f"GET /console/changes?page={quote(page, safe='')} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nCookie: sessionid={session}\r\n\r\n"
            ).encode()
        )
        answer = await self._answer
        if not answer.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"The websocket was refused: {answer[:200]!r}")

    def pause(self) -> None:
        """Read nothing any more."""
        self._transport.pause_reading()

    def close(self) -> None:
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if not self._answer.done():
            header, end, rest = self._bytes.partition(END_OF_HEADER)
            if not end:
                return
            self._answer.set_result(bytes(header))
            self._bytes = rest
        while (found := _frame(self._bytes)) is not None:
            begin, end_ = found
            kind, payload = self._bytes[0] & 15, bytes(self._bytes[begin:end_])
            del self._bytes[:end_]
            if kind == TEXT:
                self._received(payload)
            elif kind == PING:  # answered with a masked pong
                self._transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)


def _frame(data: bytearray) -> tuple[int, int] | None:
    """Where the payload of the first frame begins and ends; None if it is not complete."""
    if len(data) < 2:
        return None
    width = {126: 2, 127: 8}.get(data[1], 0)
    begin = 2 + width
    end = begin + (int.from_bytes(data[2:begin], "big") if width else data[1])
    return (begin, end) if len(data) >= max(begin, end) else None
