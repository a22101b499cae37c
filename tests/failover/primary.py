"""A PostgreSQL of its own that can fail in many ways, and SmartOps on it: a web process and a reconciler."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from smartops.dev import postgres
from smartops.dev.demo.installation import environment
from smartops.dev.demo.state import unused_port
from tests.kit import database
from tests.kit.patience import PATIENCE, eventually
from tests.kit.processes import ran, start
from tests.kit.signals import anomaly_body

PASSWORD = "a password of the tests"  # noqa: S105
SUPERUSER = "postgres"


class Primary:
    """`url` stays the same when the server is started again: its host is a link to the socket's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "postgres"
        self._data = self._directory / "data"
        self._socket = directory / "socket"
        database.start_migrated(self._directory)
        self.start()
        hba = self._data / "pg_hba.conf"
        hba.write_text(f"local all {SUPERUSER} trust\n{hba.read_text()}")
        self.reload()

    def url(self, user: str = "smartops") -> str:
        return f"postgresql://{user}@/smartops?host={self._socket}&port=5432"

    def start(self) -> None:
        found = conninfo_to_dict(postgres.start(self._directory, durable=False).uri)
        self._socket.unlink(missing_ok=True)
        self._socket.symlink_to(str(found["host"]))

    def stop(self) -> None:
        postgres.stop(self._directory)

    @property
    def pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def configure(self, line: str) -> None:
        """Adds to postgresql.conf; an empty line removes what was added."""
        file = self._data / "postgresql.conf"
        kept = [one for one in file.read_text().splitlines() if not one.endswith("# failover")]
        file.write_text("\n".join([*kept, f"{line}  # failover" if line else ""]))
        self.reload()

    def reload(self) -> None:
        """On return, every session reads it before its next statement."""
        before = self._read_at()
        os.kill(self.pid, signal.SIGHUP)
        eventually(lambda: self._read_at() != before, "the server does not read its configuration")

    def _read_at(self) -> list[tuple[Any, ...]]:
        """When the server read its configuration. It begins no session before it has told the others to read it."""
        return self.sql("SELECT pg_conf_load_time()")

    def sql(self, statement: str, user: str = "smartops") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(user), autocommit=True, connect_timeout=int(PATIENCE)) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def terminate(self) -> None:
        """On return, these sessions have ended."""
        ended = {pid for pid, _ in self._clients("pid, pg_terminate_backend(pid)")}
        eventually(lambda: ended.isdisjoint(self.backends()), "a session does not end")

    def backends(self) -> list[int]:
        return [pid for [pid] in self._clients("pid")]

    def youngest(self) -> float:
        """The age of the youngest session, in seconds."""
        [(age,)] = self._clients("extract(epoch FROM min(now() - backend_start))")
        return float(age or 0)

    def _clients(self, what: str) -> list[tuple[Any, ...]]:
        """Of the sessions of all clients but this one."""
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        return self.sql(f"SELECT {what} {others}", SUPERUSER)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def document(self) -> Any:
        return json.loads(self.text)


class Site:
    """SmartOps on a Primary."""

    def __init__(self, primary: Primary, directory: Path, kubeconfig: Path) -> None:
        self.primary, self._directory = primary, directory
        self._environment = environment(os.environ) | {
            "DJANGO_SETTINGS_MODULE": "smartops.settings",
            "SMARTOPS_INSECURE_HTTP": "1",
            "SMARTOPS_NAMESPACES": "smartops-dev",
            "SMARTOPS_KUBECONFIG": str(kubeconfig),
            "SMARTOPS_DATABASE_POOL": "5",
        }
        self.token = self.manage("shell", "--no-imports", "-c", PEOPLE).split()[-1]
        self._stack = ExitStack()
        self.web: tuple[str, int] = self._web()
        self.reconciler: tuple[str, int] = self._reconciler()
        self.until_ready()

    def manage(self, *command: str, code: int = 0) -> str:
        """What a command prints."""
        ended, printed = ran(["manage.py", *command], self._environment | {"DATABASE_URL": self.primary.url()})
        assert ended == code, printed
        return printed

    def post(self) -> Answer:
        return self.call("POST", "/v1/signals/anomaly", json.dumps(anomaly_body("smartops-dev", "nobody")))

    def call(self, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
        given = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"} | headers
        return call(self.web, method, path, body, given)

    def is_ready(self) -> tuple[int, int]:
        return call(self.web, "GET", "/readyz").status, call(self.reconciler, "GET", "/readyz").status

    def until_ready(self) -> None:
        eventually(lambda: self.is_ready() == (200, 200))

    def log(self, name: str) -> str:
        return (self._directory / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        self._stack.close()

    def _web(self) -> tuple[str, int]:
        port = unused_port()
        serve = ("manage.py", "serve", "--host", "127.0.0.1", "--port", str(port))
        self._start("web", postgres.WEB_ROLE, *serve)
        return "127.0.0.1", port

    def _reconciler(self) -> tuple[str, int]:
        port = unused_port()
        endpoint = ("--metrics-host", "127.0.0.1", "--metrics-port", str(port))
        self._start("reconciler", postgres.RECONCILER_ROLE, "manage.py", "reconcile", *endpoint)
        return "127.0.0.1", port

    def _start(self, name: str, role: str, *command: str) -> None:
        variables = self._environment | {"DATABASE_URL": self.primary.url(role)}
        process = start([sys.executable, *command], self._directory / f"{name}.log", variables)
        self._stack.callback(process.join, PATIENCE)
        self._stack.callback(process.kill)


PEOPLE = f"""
from django.contrib.auth.models import User
from smartops.tokens import Scope, issue
User.objects.create_superuser('ana', password='{PASSWORD}')
print(issue('reconciler:test', (Scope.READ, Scope.SIGNALS_WRITE, Scope.ACTIONS_WRITE)))
"""


def call(
    address: tuple[str, int], method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """Status 0: no connection."""
    connection = HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read().decode())
    except ConnectionRefusedError:
        return Answer(0, {}, "")
    finally:
        connection.close()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte, for a tablespace. Only root can mount one."""
    with tempfile.TemporaryDirectory(prefix="smartops-disk-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        disk = Path(name, "disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
        try:
            shutil.chown(disk, "nobody")
            disk.chmod(0o700)
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
