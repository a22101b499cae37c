"""The HTTP server of the reconciler: /metrics, the liveness probe /healthz, the readiness probe /readyz.

A probe answers 200 with "ok", or 503 with one line per cause.
"""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

OK, UNAVAILABLE = "200 OK", "503 Service Unavailable"


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
    daemon_threads = True  # a client that sends nothing must not delay the probes


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def serve(loop: ControlLoop, permissions: Permissions, host: str, port: int) -> None:
    """Serve on a daemon thread. Raises OSError if the port is taken."""
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            case "/healthz":
                status, lines = _liveness(loop)
            case "/readyz":
                status, lines = _readiness(loop, permissions)
            case _:
                status, lines = "404 Not Found", ["/metrics /healthz /readyz"]
        body = "".join(f"{line}\n" for line in lines).encode()
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
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
