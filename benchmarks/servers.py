"""The servers that are measured: real processes, on loopback, which end with the block that they are started in."""

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from types import TracebackType
from typing import IO, Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import django
import psycopg
from django.core.management import call_command

from benchmarks.http import Connection
from smartops import postgres
from smartops.demo.installation import environment
from smartops.demo.processes import SOURCES, TETHER
from smartops.demo.state import unused_port

READY_WITHIN = 120.0  # seconds
CLEAN = "TRUNCATE signals_signal, orchestrator_workload, guardrails_cooldown, guardrails_guardrailsetting CASCADE"


@contextmanager
def database() -> Iterator[tuple[Path, str]]:
    """A new PostgreSQL that syncs its commits to disk, and has the schema: a directory for everything, and the URI of
    the database. Django uses it in this process, from here on."""
    with tempfile.TemporaryDirectory(prefix="smartops-benchmarks-") as name:
        directory = Path(name)
        try:
            url = postgres.start(directory / "postgres").uri
            os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "smartops.settings"}
            django.setup()
            call_command("migrate", verbosity=0)
            yield directory, url
        finally:
            postgres.stop(directory / "postgres")


def clean(url: str) -> None:
    """As it was, but for the tokens."""
    with psycopg.connect(url) as session:
        session.execute(CLEAN)


@dataclass(frozen=True, slots=True)
class Web:
    address: tuple[str, int]
    pid: int


@dataclass(frozen=True, slots=True)
class Sandbox:
    url: str
    kubeconfig: Path

    def requests(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Its log, from the moment `since` (seconds since the epoch)."""
        with urlopen(f"{self.url}/sandbox/requests") as answer:  # noqa: S310 - it is HTTP
            return [one for one in json.load(answer) if one["time"] >= since]


class Servers:
    """Started one by one within a `with` block; `directory` has their logs, `database_url` is what they share."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory, self.database_url = directory, database_url
        settings = {"DJANGO_SETTINGS_MODULE": "smartops.settings", "DATABASE_URL": database_url}
        others = {"SMARTOPS_NAMESPACES": "*", "SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_LOG_LEVEL": "WARNING"}
        self._environment = environment(os.environ) | settings | others
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def web(self, application: str = "smartops.asgi:application") -> Web:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            descriptor = listener.fileno()
            process = self._start("web", "-m", "daphne", "--fd", str(descriptor), application, pass_fds=[descriptor])
            address = listener.getsockname()
        with Connection(address, timeout=READY_WITHIN) as client:  # waits in line until it accepts
            client.get("/healthz")
        return Web(address, process.pid)

    def sandbox(self, workloads: Iterable[dict[str, Any]]) -> Sandbox:
        """A cluster in which these Deployments run."""
        manifest = self.directory / "workloads.yaml"
        manifest.write_text("\n---\n".join(map(json.dumps, workloads)))
        command = ("-m", "smartops.sandbox", "--dir", str(self.directory), "--load", str(manifest))
        process = self._start("sandbox", *command, stdout=PIPE)
        assert process.stdout is not None
        _, _, url = process.stdout.readline().decode().strip().partition("ready ")
        if not url:
            raise RuntimeError(self._post_mortem("sandbox"))
        return Sandbox(url, self.directory / "kubeconfig")

    def reconciler(self, sandbox: Sandbox) -> int:
        """Its pid, once it watches the cluster."""
        port = unused_port()
        metrics = ("--metrics-host", "127.0.0.1", "--metrics-port", str(port))
        process = self._start("reconciler", "manage.py", "reconcile", *metrics, SMARTOPS_KUBECONFIG=sandbox.kubeconfig)
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(f"http://127.0.0.1:{port}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._post_mortem("reconciler"))
            time.sleep(0.05)
        return process.pid

    def _start(
        self, name: str, *command: str, pass_fds: Iterable[int] = (), stdout: int | IO[bytes] = DEVNULL, **more: object
    ) -> Popen[bytes]:
        with self._log(name).open("ab") as log:
            process = Popen(
                [*TETHER, str(os.getpid()), sys.executable, *command],
                stdin=DEVNULL, stdout=stdout, stderr=log, cwd=SOURCES, pass_fds=list(pass_fds),
                env=self._environment | {key: str(value) for key, value in more.items()},
            )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def _post_mortem(self, name: str) -> str:
        return f"the {name} did not start:\n{self._log(name).read_text(errors='replace')[-2000:]}"

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def deployment(name: str, namespace: str, ready_after: str, replicas: int = 1) -> dict[str, Any]:
    """`ready_after`: how long its pods take, e.g. "1s"."""
    template = {
        "metadata": {"labels": {"app": name}, "annotations": {"sim/ready-after": ready_after}},
        "spec": {"containers": [{"name": "main", "image": "nginx:1.29-alpine"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def cpu_seconds(pid: int) -> float:
    """What the process has used so far, on all cores."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - it is HTTP
            return bool(answer.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False


def _end(process: Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
