"""The HTTP server of the reconciler: /metrics, the liveness probe /healthz, the readiness probe /readyz.

A probe answers 200 with "ok", or 503 with one line per cause.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from socket import SHUT_RDWR, socket
from socketserver import ThreadingMixIn
from threading import Thread
from time import monotonic
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

OK, UNAVAILABLE = "200 OK", "503 Service Unavailable"
MAX_CONNECTIONS, MAX_DURATION = 64, 10.0  # at a time; seconds


class ControlLoop(Protocol):
    @property
    def alive(self) -> bool:
        """Whether the loop has begun a pass within the last 30 s, successful or not."""

    def problems(self) -> list[str]:
        """Why the loop is not ready, one line each; empty if it is ready. A loop that is not alive says so first."""

    def warnings(self) -> list[str]:
        """What does not work although the loop is ready, one line each."""


class Permissions(Protocol):
    @property
    def missing(self) -> Iterable[object]:
        """The permissions that the API server denied; `str()` of each is a line for an operator."""

    @property
    def passed(self) -> bool:
        """Whether they were checked, and no required one is missing everywhere."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves each connection on a thread, for a limited time. If there are too many, the oldest is closed: clients that
    send slowly, or nothing, must not delay the probes."""

    daemon_threads = True

    def __init__(self, listener: socket) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_name, self.server_port = listener.getsockname()[:2]
        self.setup_environ()
        self._open: dict[socket, float] = {}  # since when, of the monotonic clock; the oldest first

    def process_request(self, request: Any, client_address: Any) -> None:
        self._end(list(self._open)[: len(self._open) - MAX_CONNECTIONS + 1])
        self._open[request] = monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called twice a second."""
        self._end([one for one, since in list(self._open.items()) if monotonic() - since > MAX_DURATION])

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def _end(self, connections: Iterable[socket]) -> None:
        """The thread of the connection reads the end of the input, and closes it."""
        for connection in connections:
            self._open.pop(connection, None)
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    timeout = 5  # of one read

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def serve(loop: ControlLoop, permissions: Permissions, listener: socket) -> None:
    """Serve on a daemon thread."""
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        content = get(environ | {"REQUEST_METHOD": "GET"}, start_response)
        return [] if method == "HEAD" else content

    def get(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                content: Iterable[bytes] = metrics(environ, start_response)
                return content
            case "/healthz":
                status, lines = _liveness(loop)
            case "/readyz":
                status, lines = _readiness(loop, permissions)
            case _:
                status, lines = "404 Not Found", ["/metrics /healthz /readyz"]
        body = "".join(f"{line}\n" for line in lines).encode()
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    server = _Server(listener)
    server.set_app(app)
    Thread(target=server.serve_forever, name="health-server", daemon=True).start()


def _liveness(loop: ControlLoop) -> tuple[str, list[str]]:
    return (OK, ["ok"]) if loop.alive else (UNAVAILABLE, loop.problems()[:1])


def _readiness(loop: ControlLoop, permissions: Permissions) -> tuple[str, list[str]]:
    """A missing permission that leaves something to do is listed, but does not make the process unready; nor does a
    namespace that cannot be read: a rollout of SmartOps must not wait for it."""
    problems, warnings, missing = loop.problems(), loop.warnings(), [str(one) for one in permissions.missing]
    if problems or not permissions.passed:
        pending = [] if permissions.passed or missing else ["permission check pending"]
        return UNAVAILABLE, [*problems, *warnings, *pending, *missing]
    return OK, ["ok", *warnings, *missing]
