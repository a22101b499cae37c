"""A connection to a web process, byte by byte."""

import select
import socket
from collections.abc import Iterator
from time import monotonic, sleep
from typing import NamedTuple, Self

from tests.kit.patience import PATIENCE


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Closed(Exception):  # noqa: N818 - it is what the server did
    """The server closed the connection, or reset it, before a response was complete."""


class Wire:
    """`source` is the address that the server sees: any of 127.0.0.0/8. `buffer`: bytes that the kernel takes for it
    before they are read; by default many."""

    def __init__(self, port: int, host: str = "127.0.0.1", source: str = "", buffer: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.settimeout(PATIENCE)
        if source:
            self._socket.bind((source, 0))
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes | str) -> Self:
        self._socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def request(self, line: str, *headers: str, body: bytes = b"") -> Self:
        """With the headers as given, and those that most requests need."""
        given = {header.partition(":")[0].lower() for header in headers}
        usual = {"host": "Host: localhost"} | ({"content-length": f"Content-Length: {len(body)}"} if body else {})
        lines = [line, *(text for name, text in usual.items() if name not in given), *headers, "", ""]
        return self.send("\r\n".join(lines).encode("latin-1") + body)

    def response(self, method: str = "GET") -> Response:
        header, _, self._received = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = header.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        if status < 200 or method == "HEAD":
            return Response(status, headers, b"")
        if "content-length" in headers:
            length = int(headers["content-length"])
            while len(self._received) < length:
                self._receive()
            body, self._received = self._received[:length], self._received[length:]
            return Response(status, headers, body)
        if headers.get("transfer-encoding") == "chunked":
            return Response(status, headers, b"".join(self._chunks()))
        return Response(status, headers, self.rest())

    def _chunks(self) -> Iterator[bytes]:
        length = -1
        while length:
            line, _, self._received = self._until(b"\r\n").partition(b"\r\n")
            length = int(line, 16)
            while len(self._received) < length + 2:
                self._receive()
            yield self._received[:length]
            self._received = self._received[length + 2 :]

    def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        while True:
            try:
                self._receive()
            except Closed:
                rest, self._received = self._received, b""
                return rest

    def take(self, length: int) -> None:
        """Read so many bytes, and forget them."""
        while length > 0:
            self._receive()
            length, self._received = length - len(self._received), b""

    def read(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        found, self._received = self._received[:length], self._received[length:]
        return found

    def drip(self, data: bytes, pause: float) -> None:
        """Send the same after each pause of so many seconds, until the server ends the connection. It must do so
        within a minute."""
        began = monotonic()
        while monotonic() - began < 60:
            try:
                self.send(data)
            except OSError:
                return
            sleep(pause)
        raise AssertionError("The connection has not ended.")

    def is_answered(self, within: float) -> bool:
        """Whether there is something to read by then."""
        return bool(select.select([self._socket], [], [], within)[0])

    def is_reset(self) -> bool:
        """Whether the server resets the connection. Bytes that have arrived may still be unread."""
        poll = select.poll()
        poll.register(self._socket, 0)
        return bool(poll.poll(PATIENCE * 1000))

    def is_closed(self) -> bool:
        """Whether the server closes it, without another byte."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            self._receive()
        return self._received

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except ConnectionError as error:
            raise Closed(self._received) from error
        if not data:
            raise Closed(self._received)
        self._received += data


def ask(port: int, line: str, *headers: str, body: bytes = b"") -> Response:
    """One request on a connection of its own."""
    with Wire(port) as wire:
        return wire.request(line, "Connection: close", *headers, body=body).response(line.split()[0])
