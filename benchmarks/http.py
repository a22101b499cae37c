"""HTTP clients that keep their connections, and cost the machine little."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPSConnection
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

JSON = {"Content-Type": "application/json"}

T = TypeVar("T")


class Connection:
    """With a `context`, by TLS."""

    def __init__(
        self,
        address: tuple[str, int],
        headers: Mapping[str, str] = {},
        timeout: float = 60.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._http = (
            HTTPSConnection(*address, timeout=timeout, context=context)
            if context
            else HTTPConnection(*address, timeout=timeout)
        )
        self._headers = {**JSON, **headers}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: bytes) -> bytes:
        """The answer's body; RuntimeError unless it was accepted."""
        return self.send("POST", path, body)

    def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str] = {}) -> bytes:
        """The answer's body; RuntimeError unless it was accepted."""
        status, answer = self._ask(method, path, body, headers)
        if status not in (200, 201, 202):
            raise RuntimeError(f"{method} {path} answered {status}: {answer[:500]!r}")
        return answer

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self._http.request(method, path, body, {**self._headers, **headers})
        answer = self._http.getresponse()
        return answer.status, answer.read()


def rate(
    address: tuple[str, int],
    path: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str] = {},
    clients: int = 4,
) -> float:
    """Posts per second, by as many clients at once."""
    connections = [Connection(address, headers) for _ in range(clients)]
    return len(bodies) / drive(connections, bodies, lambda connection, body: connection.post(path, body))


def drive(connections: Sequence[Connection], items: Sequence[T], send: Callable[[Connection, T], object]) -> float:
    """Seconds until all were sent and answered: each connection sends its next item when its last was answered."""
    left, lock = iter(items), Lock()

    def mine() -> Iterator[T]:
        while True:
            with lock:
                try:
                    item = next(left)
                except StopIteration:
                    return
            yield item

    def work(connection: Connection) -> None:
        with connection:
            for item in mine():
                send(connection, item)

    with ThreadPoolExecutor(len(connections)) as pool:
        started = time.perf_counter()
        for done in [pool.submit(work, connection) for connection in connections]:
            done.result()
        return time.perf_counter() - started
