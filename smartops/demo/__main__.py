"""`python -m smartops.demo`: starts everything, tells the story, and keeps running until SIGINT or SIGTERM.

PORT (8000) and STATE (.smartops) say where; DEMO_KUBECONFIG names a cluster to use instead of the sandbox.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from smartops import postgres
from smartops.demo.accounts import ADMIN
from smartops.demo.cluster import Cluster, sandbox
from smartops.demo.processes import Processes
from smartops.demo.screen import Screen
from smartops.demo.state import Credentials, DemoError, claimed, listen, unused_port, write_private
from smartops.demo.story import tell

A, B = TypeVar("A"), TypeVar("B")

READY_WITHIN = 60.0  # seconds


@dataclass(slots=True)
class Demo:
    """`kubeconfig` is None for a sandbox."""

    state: Path
    listener: socket.socket
    kubeconfig: Path | None
    screen: Screen
    processes: Processes
    credentials: Credentials = field(init=False)
    starting: "asyncio.Task[postgres.Server] | None" = None

    def __post_init__(self) -> None:
        self.credentials = Credentials.of(self.state)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    async def run(self) -> None:
        """Never returns."""
        database, cluster = await both(self._prepare_database(), self._join_cluster())
        settings = self._settings(database, cluster)
        metrics_port = unused_port()
        endpoint = f"http://127.0.0.1:{metrics_port}"
        descriptor = str(self.listener.fileno())
        web = await self.processes.start(
            "web", sys.executable, "-m", "daphne", "--fd", descriptor, "smartops.asgi:application",
            environment=settings, pass_fds=[self.listener.fileno()],
        )  # fmt: skip
        reconciler = await self.processes.start(
            "reconciler", sys.executable, "manage.py", "reconcile",
            "--metrics-host", "127.0.0.1", "--metrics-port", str(metrics_port),
            environment=settings,
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {self.credentials.token}"}
        async with aiohttp.ClientSession(self.url, headers=headers) as api:
            await both(
                self._ready(api, f"{self.url}/readyz", "the web process answers", "web"),
                self._ready(api, f"{endpoint}/readyz", "the reconciler watches the cluster", "reconciler"),
            )
            handles = {
                "url": self.url,
                "token": self.credentials.token,
                "admin": {"username": ADMIN, "password": self.credentials.admin_password},
                "kubeconfig": str(cluster.kubeconfig),
                "database_url": database.uri,
                "metrics": {"web": f"{self.url}/metrics", "reconciler": f"{endpoint}/metrics"},
                "pids": {
                    "web": web.pid,
                    "reconciler": reconciler.pid,
                    "sandbox": cluster.pid,
                    "postgres": database.pid,
                },
            }
            write_private(self.state / "demo.json", handles)
            await tell(api, cluster, self.screen)
        self.screen.handles(handles, self.state)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        await self.processes.stop()
        if self.starting is not None:
            await asyncio.wait({self.starting})
            await asyncio.to_thread(postgres.stop, self.state / "postgres", timeout=5.0)

    async def _prepare_database(self) -> postgres.Server:
        self.starting = asyncio.create_task(asyncio.to_thread(postgres.start, self.state / "postgres"))
        try:
            server = await asyncio.shield(self.starting)
        except postgres.PostgresError as error:
            raise DemoError(str(error)) from error
        self.processes.follow("postgres", server.pid)
        self.screen.progress("PostgreSQL accepts connections")
        secrets = {"ADMIN_PASSWORD": self.credentials.admin_password, "AGENT_TOKEN": self.credentials.token}
        token = await self.processes.run(
            "migrate", sys.executable, "-m", "smartops.demo.accounts", environment=self._settings(server) | secrets
        )
        self.credentials.token = token.strip()
        self.credentials.save(self.state)
        self.screen.progress("the database is up to date")
        return server

    async def _join_cluster(self) -> Cluster:
        if self.kubeconfig is None:
            cluster = await sandbox(self.processes, self.state)
            self.screen.progress("the sandbox cluster serves the Kubernetes API")
        else:
            cluster = Cluster(self.processes, self.kubeconfig)
        await cluster.populate(self.state / "workloads.json")
        self.screen.progress("the demo's workloads run in the cluster")
        return cluster

    async def _ready(self, session: aiohttp.ClientSession, url: str, what: str, name: str) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN):
                while not await _answers(session, url):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DemoError(
                self.processes.post_mortem(name, f"{name} is not ready after {READY_WITHIN:.0f} s")
            ) from None
        self.screen.progress(what)

    def _settings(self, database: postgres.Server, cluster: Cluster | None = None) -> dict[str, str]:
        settings = {
            "DJANGO_SETTINGS_MODULE": "smartops.settings",
            "DATABASE_URL": database.uri,
            "SMARTOPS_SECRET_KEY": self.credentials.secret_key,
            "SMARTOPS_INSECURE_HTTP": "1",
            "SMARTOPS_NAMESPACES": "*",
        }
        if cluster is not None:
            settings["SMARTOPS_KUBECONFIG"] = str(cluster.kubeconfig)
            settings["SMARTOPS_CLUSTER_NOTE"] = "sandbox" if cluster.url else ""
        return settings


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with session.get(url) as response:
            return response.status == 200
    return False


async def serve(state: Path, listener: socket.socket, kubeconfig: Path | None, screen: Screen) -> None:
    """Until a signal asks for the end; DemoError where it came by itself. Nothing is left running either way."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A second one changes nothing: the end is under way, and takes seconds at most.
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    demo = Demo(state, listener, kubeconfig, screen, Processes(state, environment(os.environ)))
    running = asyncio.create_task(demo.run())
    asked = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({running, asked, demo.processes.failure}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.is_set():
            screen.stopping()
    finally:
        (state / "demo.json").unlink(missing_ok=True)
        running.cancel()
        await asyncio.wait({running})
        await demo.stop()
    if demo.processes.failure.done():
        demo.processes.failure.result()
    if not running.cancelled():
        running.result()


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Side by side. Where one fails the other is cancelled, and the failure is raised as itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return one.result(), other.result()


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What children may know of ours: nothing that names another database, cluster or installation."""
    foreign = ("SMARTOPS_", "DATABASE_", "REDIS_", "DJANGO_", "KUBECONFIG", "PG")
    return {name: value for name, value in given.items() if not name.startswith(foreign)} | {"PYTHONUNBUFFERED": "1"}


def main() -> int:
    screen = Screen(sys.stdout)
    state = Path(os.environ.get("STATE") or ".smartops").resolve()
    try:
        port, kubeconfig = _port(os.environ.get("PORT") or "8000"), _kubeconfig(os.environ.get("DEMO_KUBECONFIG"))
        if shutil.which("setpriv") is None:
            raise DemoError("The program setpriv is missing: apt-get install util-linux")
        with claimed(state), listen(port) as listener:
            asyncio.run(serve(state, listener, kubeconfig, screen))
    except DemoError as error:
        screen.fail(str(error))
        return 1
    return 0


def _port(text: str) -> int:
    if not text.isdecimal():
        raise DemoError(f"PORT={text} is not a number")
    return int(text)


def _kubeconfig(text: str | None) -> Path | None:
    if not text:
        return None
    path = Path(text).resolve()
    if not path.is_file():
        raise DemoError(f"DEMO_KUBECONFIG={text} is not a file")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
