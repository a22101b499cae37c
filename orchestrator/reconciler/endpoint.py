"""The reconciler's own port: /metrics, /healthz (its loop turns), /readyz (it sees its cluster and its database)."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app


class Observed(Protocol):
    @property
    def alive(self) -> bool: ...

    @property
    def ready(self) -> bool: ...


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a client that says nothing must not keep the probes waiting


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def serve(reconciler: Observed, host: str, port: int) -> None:
    """On a daemon thread; raises OSError where the port is taken."""
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            case "/healthz" if reconciler.alive:
                status, body = "200 OK", b"ok\n"
            case "/readyz" if reconciler.ready:
                status, body = "200 OK", b"ok\n"
            case "/healthz":
                status, body = "503 Service Unavailable", b"the loop stands still\n"
            case "/readyz":
                status, body = "503 Service Unavailable", b"the cluster or the database is not to be had\n"
            case _:
                status, body = "404 Not Found", b"/metrics /healthz /readyz\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    Thread(target=server.serve_forever, name="endpoint", daemon=True).start()
