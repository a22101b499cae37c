"""SmartOps as it is installed: a web process and reconcilers, on the test's database and the cluster under test."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from signals.wakeups import CHANNEL
from smartops.demo.processes import TETHER
from tests.concurrency.processes import ROOT, environment, sessions, until

PATIENCE = 30.0  # seconds
RECONCILER = "a reconciler of the closed loop"


class Answer(NamedTuple):
    status: int
    body: Any


class Agent:
    """Calls the API with a token, each time on a connection of its own. OSError where it got no answer."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self._address, self._headers = address, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def get(self, path: str) -> Any:
        answer = self._ask("GET", path, None, {})
        assert answer.status == 200, answer
        return answer.body

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        """`idempotency_key="k"` is the header `Idempotency-Key: k`."""
        return self._ask("POST", path, json.dumps(body), {name.replace("_", "-"): headers[name] for name in headers})

    def items(self, path: str) -> list[Any]:
        """Of all pages of a list."""
        page = self.get(path)
        found: list[Any] = page["items"]
        while page["next"]:
            page = self.get(urlsplit(page["next"])._replace(scheme="", netloc="").geturl())
            found += page["items"]
        return found

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        with closing(HTTPConnection(*self._address, timeout=2 * PATIENCE)) as connection:
            connection.request(method, path, body, {**self._headers, **headers})
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))


class Installation:
    """A web process and some reconcilers for `namespaces` (as in SMARTOPS_NAMESPACES). `address` outlives them: who
    connects while there is no web process waits in line."""

    def __init__(self, kubeconfig: Path, namespaces: str, log: Path, **more: str) -> None:
        self._log = log
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = environment(
            SMARTOPS_KUBECONFIG=str(kubeconfig), SMARTOPS_NAMESPACES=namespaces, SMARTOPS_INSECURE_HTTP="1", **more
        )
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address: tuple[str, int] = self._listener.getsockname()

    def start(self, reconcilers: int) -> None:
        """The reconcilers listen when this returns; requests are answered as soon as there is somebody to do so."""
        descriptor = self._listener.fileno()
        self._run(
            "-m", "daphne", "-v", "0", "--fd", str(descriptor), "smartops.asgi:application", inherits=[descriptor]
        )
        for _ in range(reconcilers):
            self._run("manage.py", "reconcile", PGAPPNAME=RECONCILER)
        until(lambda: sessions(RECONCILER, f"LISTEN {CHANNEL}") == reconcilers or not self._alive())
        assert self._alive(), self.log()

    def kill(self) -> None:
        """All at once, with SIGKILL. On return they are gone, and PostgreSQL knows."""
        for process in self._running:
            process.kill()
        assert {process.wait(PATIENCE) for process in self._running} == {-signal.SIGKILL}, self.log()
        self._running.clear()
        until(lambda: sessions(RECONCILER) == 0)

    def stop(self) -> None:
        """They must end well when told to, and have had no errors."""
        for process in self._running:
            process.terminate()
        assert {process.wait(PATIENCE) for process in self._running} <= {0}, self.log()
        assert "Traceback" not in self.log(), self.log()

    def close(self) -> None:
        """Nothing is left, whatever happened."""
        for process in self._running:
            process.kill()
            process.wait(PATIENCE)
        self._listener.close()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _alive(self) -> bool:
        return all(process.poll() is None for process in self._running)

    def _run(self, *command: str, inherits: Sequence[int] = (), **more: str) -> None:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*TETHER, str(os.getpid()), sys.executable, *command],
                cwd=ROOT, env=self._environment | more, pass_fds=inherits, stdout=log, stderr=log,
            )  # fmt: skip
        self._running.append(process)


@contextmanager
def installed(kubeconfig: Path, namespaces: str, log: Path, reconcilers: int, **more: str) -> Iterator[Installation]:
    """`more` is of their environment."""
    installation = Installation(kubeconfig, namespaces, log, **more)
    try:
        installation.start(reconcilers)
        yield installation
        installation.stop()
    finally:
        installation.close()
