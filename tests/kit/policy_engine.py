"""A policy engine that answers what a test wants it to."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from signals.lib.sockets import shown
from tests.kit.patience import PATIENCE

Handler = BaseHTTPRequestHandler


class Engine:
    """`answer` is what it says to everything, until a test assigns another; `asked` are the inputs, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Any] = []
        self.paths: list[str] = []
        self.answer: Callable[[Handler], None] = says(True)

    def take(self, handler: Handler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        assert list(body) == ["input"]
        self.asked.append(body["input"])
        self.paths.append(handler.path)
        self.answer(handler)


def replies(status: int, body: bytes, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def says(result: Any) -> Callable[[Handler], None]:
    return replies(200, json.dumps({"result": result}).encode())


@contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[Engine]:
    class Asked(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE

        def do_POST(self) -> None:
            engine.take(self)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    server = Server((host, 0), Asked)
    server.daemon_threads = True
    engine = Engine(f"http://{shown(server.socket)}/v1/data/smartops/decision")
    thread = Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
