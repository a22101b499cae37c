"""SmartOps as it is installed: a web process and reconcilers, on the test's database and a cluster; and its agents."""

import json
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from signals.lib.notifications import CHANNEL
from smartops.dev.demo.state import unused_port
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from smartops.tokens import Scope, issue
from tests.kit.patience import PATIENCE
from tests.kit.processes import ended, environment, sessions, start, until

RECONCILER = "a reconciler of the installation"
Address = tuple[str, int]


class Answer(NamedTuple):
    status: int
    body: Any


class Agent:
    """Calls the API with a token, each time on a connection of its own. OSError where it got no answer. Keywords are
    headers: `idempotency_key="k"` is `Idempotency-Key: k`."""

    def __init__(self, address: Address) -> None:
        self.token = issue("an agent", Scope)
        self._address = address

    def get(self, path: str) -> Any:
        status, text = self.call("GET", path)
        assert status == 200, text
        return json.loads(text)

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        status, text = self.call("POST", path, json.dumps(body), **headers)
        return Answer(status, json.loads(text))

    def items(self, path: str) -> list[Any]:
        """Of all pages of a list."""
        page = self.get(path)
        found: list[Any] = page["items"]
        while page["next"]:
            page = self.get(urlsplit(page["next"])._replace(scheme="", netloc="").geturl())
            found += page["items"]
        return found

    def call(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        """The answer's status and text."""
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        ours = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with closing(HTTPConnection(*self._address, timeout=2 * PATIENCE)) as connection:
            connection.request(method, path, body, ours | given)
            response = connection.getresponse()
            return response.status, response.read().decode()


class Installation:
    """A web process and some reconcilers for `namespaces` (as in SMARTOPS_NAMESPACES). `address` outlives them: who
    connects while there is no web process waits in line. `metrics` are the reconcilers' own addresses."""

    def __init__(
        self, kubeconfig: Path, namespaces: str, log: Path, program: Sequence[str] = ("manage.py",), **more: str
    ) -> None:
        self._log, self._program = log, program
        self._running: list[BaseProcess] = []
        settings = {"SMARTOPS_NAMESPACES": namespaces, "SMARTOPS_INSECURE_HTTP": "1", **more}
        cluster = {"SMARTOPS_KUBECONFIG": str(kubeconfig), "PGAPPNAME": RECONCILER}
        self._web = environment(WEB_ROLE, **settings)
        self._reconciler = environment(RECONCILER_ROLE, **settings, **cluster)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: Address = self._listener.getsockname()
        self.metrics: list[Address] = []

    def start(self, reconcilers: int) -> None:
        """The reconcilers listen when this returns; requests are answered as soon as there is somebody to do so."""
        self._running.append(start([*self._program, "serve", "--fd", self._listener], self._log, self._web))
        self.metrics = [("127.0.0.1", unused_port()) for _ in range(reconcilers)]
        for host, port in self.metrics:
            command = [*self._program, "reconcile", "--metrics-host", host, "--metrics-port", str(port)]
            self._running.append(start(command, self._log, self._reconciler))
        until(lambda: sessions(RECONCILER, f"LISTEN {CHANNEL}") == reconcilers or not self._alive())
        assert self._alive(), self.log()

    def kill(self) -> None:
        """All at once, with SIGKILL. On return they are gone, and PostgreSQL knows."""
        for process in self._running:
            process.kill()
        assert {ended(process) for process in self._running} == {-signal.SIGKILL}, self.log()
        self._running.clear()
        until(lambda: sessions(RECONCILER) == 0)

    def stop(self) -> None:
        """They must end well when told to, and have had no errors."""
        if self._running and self._alive():  # a signal ends a web process that is still starting
            with closing(HTTPConnection(*self.address, timeout=PATIENCE)) as connection:
                connection.request("GET", "/healthz")
                connection.getresponse()
        for process in self._running:
            process.terminate()
        assert {ended(process) for process in self._running} <= {0}, self.log()
        assert "Traceback" not in self.log(), self.log()

    def close(self) -> None:
        """Nothing is left, whatever happened."""
        for process in self._running:
            process.kill()
            ended(process)
        self._listener.close()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _alive(self) -> bool:
        return all(process.is_alive() for process in self._running)


@contextmanager
def installed(
    kubeconfig: Path,
    namespaces: str,
    log: Path,
    reconcilers: int,
    program: Sequence[str] = ("manage.py",),
    **more: str,
) -> Iterator[Installation]:
    """`program` runs in place of manage.py; `more` is of their environment."""
    installation = Installation(kubeconfig, namespaces, log, program, **more)
    try:
        installation.start(reconcilers)
        yield installation
        installation.stop()
    finally:
        installation.close()
