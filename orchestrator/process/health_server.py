"""The reconciler's own port: /metrics, /healthz (its loop turns), /readyz (it sees its cluster and its database, and
has the rights that it needs)."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

OK, UNAVAILABLE = "200 OK", "503 Service Unavailable"


class Observed(Protocol):
    @property
    def alive(self) -> bool: ...

    @property
    def ready(self) -> bool: ...


class Rights(Protocol):
    @property
    def missing(self) -> Iterable[object]:
        """What is missing, each a line to be read by people."""

    @property
    def passed(self) -> bool: ...


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a client that says nothing must not keep the probes waiting


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def serve(reconciler: Observed, rights: Rights, host: str, port: int) -> None:
    """On a daemon thread; raises OSError where the port is taken."""
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            case "/healthz":
                status, lines = _alive(reconciler)
            case "/readyz":
                status, lines = _ready(reconciler, rights)
            case _:
                status, lines = "404 Not Found", ["/metrics /healthz /readyz"]
        body = "".join(f"{line}\n" for line in lines).encode()
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    Thread(target=server.serve_forever, name="endpoint", daemon=True).start()


def _alive(reconciler: Observed) -> tuple[str, list[str]]:
    return (OK, ["ok"]) if reconciler.alive else (UNAVAILABLE, ["the loop stands still"])


def _ready(reconciler: Observed, rights: Rights) -> tuple[str, list[str]]:
    """A right that the loop can do without is told, and costs nothing else."""
    missing = [str(one) for one in rights.missing]
    if not reconciler.ready:
        return UNAVAILABLE, ["the cluster or the database is not to be had", *missing]
    return (OK, ["ok", *missing]) if rights.passed else (UNAVAILABLE, missing or ["our rights are not known yet"])
