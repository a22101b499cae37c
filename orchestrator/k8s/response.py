"""Reads an HTTP response of urllib3 whose body has not been read yet."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic

from urllib3 import BaseHTTPResponse

from orchestrator.k8s.errors import TimedOut

CHUNK = 65536  # bytes
STOP_LATENCY = 0.2  # seconds until a blocked read notices `stop`


def read_body(response: BaseHTTPResponse, deadline: float) -> bytes:
    """The whole body; TimedOut at `deadline` (monotonic), however steadily the bytes trickle in."""
    body = bytearray()
    try:
        while chunk := response.read1(CHUNK):
            body += chunk
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise TimedOut(f"The response was not complete in time ({len(body)} bytes)")
            _limit_reads(response, remaining)
    finally:
        response.close()  # after the last byte the connection is already back in the pool, and stays open
    return bytes(body)


def read_lines(response: BaseHTTPResponse, stop: Event, idle: float) -> Iterator[bytes]:
    """The lines as they arrive, until the server ends the response (a last line without its end is dropped) or `stop`
    is set. Raises urllib3's errors, among them ReadTimeoutError after `idle` seconds without a byte."""
    _limit_reads(response, idle)
    rest = b""
    with _interrupted_by(stop, response):
        while chunk := response.read1(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _limit_reads(response: BaseHTTPResponse, seconds: float) -> None:
    # There is no connection once the body was read to its end, and no socket where the server announced that it will
    # close the connection: the timeout of the request stays in force.
    if (sock := getattr(response.connection, "sock", None)) is not None:
        sock.settimeout(seconds)


@contextmanager
def _interrupted_by(stop: Event, response: BaseHTTPResponse) -> Iterator[None]:
    """A thread that is blocked in a read can only be woken through its socket: another thread shuts it down."""
    ended = Event()

    def interrupt() -> None:
        while not ended.wait(STOP_LATENCY):
            if stop.is_set():
                with suppress(OSError, RuntimeError, ValueError):  # the response has just ended
                    response.shutdown()
                return

    thread = Thread(target=interrupt, name="watch-interrupt", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        response.close()
