"""An API server that answers, byte for byte, what a test tells it to."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

from signals.lib.sockets import listen, shown

Answer = Callable[[socket.socket], None]


def kubeconfig(path: Path, server: str) -> Path:
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "stub", "cluster": {"server": server}}],
                "users": [{"name": "stub", "user": {}}],
                "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
                "current-context": "stub",
            }
        )
    )
    return path


def hang_up(connection: socket.socket) -> None:
    """Without a word."""


class Stub:
    def __init__(self, host: str = "127.0.0.1") -> None:
        self.answer: Answer = hang_up
        self.requests: list[tuple[str, str]] = []  # request line, body
        self.heads: list[str] = []  # request line and headers
        self.over = Event()
        self._listener = listen(host, 0)
        self._threads = [Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://{shown(self._listener)}"

    def close(self) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """One request for each connection: what a client sends again arrives on another one, and is seen as well."""
        with connection:
            request = self._receive(connection)
            if request is None:
                return
            self.requests.append(request)
            try:
                self.answer(connection)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client did not wait for the rest

    def _receive(self, connection: socket.socket) -> tuple[str, str] | None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += (chunk := connection.recv(65536))
            if not chunk:
                return None
            if received.startswith(b"\x16"):  # the hello of TLS, which we do not speak
                return "", ""
        head, _, body = received.partition(b"\r\n\r\n")
        lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < sum(lengths):
            body += connection.recv(65536)
        self.heads.append(head.decode())
        return head.split(b"\r\n")[0].decode(), body.decode()


def http(body: str | bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {size}\r\n\r\n".encode() + content


def deployment(name: str = "erp", *, uid: str = "uid-1", version: int = 1, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": "dev", "name": name, "uid": uid, "resourceVersion": str(version), "generation": 1}
    return {"metadata": metadata, "spec": {"replicas": 1} | spec, "status": {}}
