"""The servers that are measured: real processes, on loopback, which end with the block that they are started in."""

import json
import os
import signal
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
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

import django
import psycopg
from django.core.management import call_command

from benchmarks.clusters import Cluster, ControlPlane, Sandbox
from benchmarks.http import Connection
from benchmarks.processes import cpu_seconds
from benchmarks.record import Json
from smartops.dev import postgres
from smartops.dev.demo.installation import environment
from smartops.dev.demo.processes import SOURCES, TETHER
from smartops.dev.demo.state import unused_port

READY_WITHIN = 120.0  # seconds
SERVE = ("manage.py", "serve")
# Triggers refuse to empty history, also for the owner.
CLEAN = """
    DO $$
    DECLARE
        history regclass[] := ARRAY['signals_signal', 'signals_observation', 'orchestrator_workload',
            'orchestrator_action', 'orchestrator_decisionrecord', 'orchestrator_auditevent',
            'orchestrator_verification', 'orchestrator_activeaction', 'orchestrator_idempotencykey',
            'signals_problem', 'signals_window', 'guardrails_cooldown', 'guardrails_guardrailsetting'];
        name regclass;
    BEGIN
        SELECT array_agg(coalesce(relid, one)) INTO history
            FROM unnest(history) one LEFT JOIN LATERAL pg_partition_tree(one) ON true;
        FOREACH name IN ARRAY history LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', name); END LOOP;
        EXECUTE 'TRUNCATE ' || array_to_string(history, ', ') || ' CASCADE';
        FOREACH name IN ARRAY history LOOP EXECUTE format('ALTER TABLE %s ENABLE TRIGGER USER', name); END LOOP;
    END $$
"""
# The program of the real control plane; empty: none.
CONTROL_PLANE = os.environ.get("SMARTOPS_CONTROLPLANE", str(SOURCES / ".conformance" / "controlplane"))


@contextmanager
def database() -> Iterator[tuple[Path, str]]:
    """A new PostgreSQL that syncs its commits to disk, and has the schema: a directory for everything, and the URI of
    the database. Django uses it in this process, from here on."""
    with tempfile.TemporaryDirectory(prefix="smartops-benchmarks-") as name:
        directory = Path(name)
        try:
            url = postgres.start(directory / "postgres").uri
            quiet = {"SMARTOPS_LOG_LEVEL": "WARNING"}  # a line for each transition would be among the figures
            os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "smartops.settings"} | quiet
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


class Servers:
    """Started one by one within a `with` block; `directory` has their logs, `database_url` is what they share.
    `on`: the kind of cluster that was started, if one was."""

    on = ""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory, self.database_url = directory, database_url
        settings = {"DJANGO_SETTINGS_MODULE": "smartops.settings", "DATABASE_URL": database_url}
        others = {"SMARTOPS_NAMESPACES": "*", "SMARTOPS_INSECURE_HTTP": "1", "SMARTOPS_LOG_LEVEL": "WARNING"}
        self._environment = environment(os.environ) | settings | others
        self._stack = ExitStack()
        self._processes: dict[int, Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def web(self, application: str = "") -> Web:
        """SmartOps' own, or another application as daphne serves it."""
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            descriptor = str(listener.fileno())
            command = ("-m", "daphne", "--fd", descriptor, application) if application else (*SERVE, "--fd", descriptor)
            role = {} if application else {"DATABASE_URL": self._url(postgres.WEB_ROLE)}
            process = self.start("web", sys.executable, *command, variables=role, pass_fds=[listener.fileno()])
            address = listener.getsockname()
        with Connection(address, timeout=READY_WITHIN) as client:  # waits in line until it accepts
            client.get("/healthz")
        return Web(address, process.pid)

    def cluster(self, workloads: Iterable[Json]) -> Cluster:
        """In which these Deployments run: a real control plane where there is its program, else a sandbox."""
        if not CONTROL_PLANE or not (Path(CONTROL_PLANE).exists() or "SMARTOPS_CONTROLPLANE" in os.environ):
            return self.sandbox(workloads)
        return self.control_plane(workloads)

    def control_plane(self, workloads: Iterable[Json]) -> ControlPlane:
        directory = Path(tempfile.mkdtemp(prefix="control-plane-", dir=self.directory))
        command = (CONTROL_PLANE, "up", "--dir", str(directory))
        process = self.start("control plane", *command, stdout=PIPE)
        self._hear("control plane", process, "ready")
        cluster = ControlPlane(directory / "kubeconfig", process.pid)
        cluster.create(workloads)
        self.on = cluster.name
        return cluster

    def sandbox(self, workloads: Iterable[Json]) -> Sandbox:
        manifest = self.directory / "workloads.yaml"
        manifest.write_text("\n---\n".join(map(json.dumps, workloads)))
        command = (sys.executable, "-m", "smartops.dev.sandbox", "--dir", str(self.directory), "--load", str(manifest))
        process = self.start("sandbox", *command, stdout=PIPE)
        url = self._hear("sandbox", process, "ready ")
        self.on = Sandbox.name
        return Sandbox(self.directory / "kubeconfig", process.pid, url)

    def reconciler(self, cluster: Cluster) -> int:
        """Its pid, once it watches the cluster."""
        port = unused_port()
        command = ("manage.py", "reconcile", "--metrics-host", "127.0.0.1", "--metrics-port", str(port))
        access = {"SMARTOPS_KUBECONFIG": str(cluster.kubeconfig), "DATABASE_URL": self._url(postgres.RECONCILER_ROLE)}
        process = self.start("reconciler", sys.executable, *command, variables=access)
        deadline = time.monotonic() + READY_WITHIN
        while not _answers(f"http://127.0.0.1:{port}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._post_mortem("reconciler"))
            time.sleep(0.05)
        return process.pid

    def start(self, name: str, *command: str, variables: dict[str, str] | None = None, **options: Any) -> Popen[bytes]:
        """`variables` of its environment, and `options` of its Popen, beside our own."""
        with self._log(name).open("ab") as log:
            process = Popen(
                [*TETHER, str(os.getpid()), *command],
                **{"stdin": DEVNULL, "stdout": DEVNULL, "stderr": log, "cwd": SOURCES, **options},
                env=self._environment | (variables or {}),
            )  # fmt: skip
        self._processes[process.pid] = process
        self._stack.callback(_end, process)
        return process

    def kill(self, *pids: int) -> None:
        """All at one moment, with no chance to say goodbye; returns when they are gone."""
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self._processes[pid].wait()

    def stop(self, pid: int) -> None:
        _end(self._processes[pid])

    def database_cpu_seconds(self) -> float:
        server = postgres.running(self.directory / "postgres")
        assert server is not None
        return cpu_seconds(server.pid)

    def _url(self, role: str) -> str:
        """With the privileges of a process. `database_url` is the owner's."""
        server = postgres.running(self.directory / "postgres")
        assert server is not None
        return server.uri_of(role)

    def _hear(self, name: str, process: Popen[bytes], word: str) -> str:
        """What follows the word that says that it is ready."""
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        if not line.startswith(word):
            raise RuntimeError(self._post_mortem(name))
        return line.removeprefix(word)

    def _post_mortem(self, name: str) -> str:
        return f"the {name} did not start:\n{self._log(name).read_text(errors='replace')[-2000:]}"

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


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
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
