"""Reads an HTTP response of urllib3 whose body has not been read yet."""

from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

from urllib3 import BaseHTTPResponse

from orchestrator.k8s.errors import TimedOut
from orchestrator.k8s.interruption import Interruption

CHUNK = 65536  # bytes


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


def read_lines(response: BaseHTTPResponse, stop: Interruption, idle: float) -> Iterator[bytes]:
    """The lines as they arrive, until the server ends the response (a last line without its end is dropped) or `stop`
    is set. Raises urllib3's errors, among them ReadTimeoutError after `idle` seconds without a byte."""
    _limit_reads(response, idle)
    rest = b""

    def interrupt() -> None:
        """A thread that is blocked in a read can only be woken through its socket: another thread shuts it down."""
        with suppress(OSError, RuntimeError, ValueError):  # the response has just ended
            response.shutdown()

    try:
        with stop.interrupting(interrupt):
            while chunk := response.read1(CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
    finally:
        response.close()


def _limit_reads(response: BaseHTTPResponse, seconds: float) -> None:
    # There is no connection once the body was read to its end, and no socket where the server announced that it will
    # close the connection: the timeout of the request stays in force.
    if (sock := getattr(response.connection, "sock", None)) is not None:
        sock.settimeout(seconds)
