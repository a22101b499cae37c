"""HTTP clients that keep their connections, and cost the machine little."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Lock
from types import TracebackType
from typing import Self

JSON = {"Content-Type": "application/json"}


class Connection:
    def __init__(self, address: tuple[str, int], headers: Mapping[str, str] = {}, timeout: float = 60.0) -> None:
        self._http = HTTPConnection(*address, timeout=timeout)
        self._headers = {**JSON, **headers}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str) -> tuple[int, bytes]:
        return self._ask("GET", path, None)

    def post(self, path: str, body: bytes) -> bytes:
        """The answer's body; RuntimeError unless it was accepted."""
        status, answer = self._ask("POST", path, body)
        if status not in (200, 202):
            raise RuntimeError(f"POST {path} answered {status}: {answer[:500]!r}")
        return answer

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._http.request(method, path, body, self._headers)
        answer = self._http.getresponse()
        return answer.status, answer.read()


def rate(
    address: tuple[str, int],
    path: str,
    bodies: Sequence[bytes],
    headers: Mapping[str, str] = {},
    clients: int = 4,
) -> float:
    """Posts per second, by as many clients at once: each sends its next when its last was answered."""
    left, lock = iter(bodies), Lock()

    def next_body() -> Iterator[bytes]:
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            yield body

    def drive(connection: Connection) -> None:
        with connection:
            for body in next_body():
                connection.post(path, body)

    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        for done in [pool.submit(drive, Connection(address, headers)) for _ in range(clients)]:
            done.result()
        return len(bodies) / (time.perf_counter() - started)
