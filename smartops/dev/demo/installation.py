"""An installation of SmartOps: a database, a cluster, a web process, a reconciler."""

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from smartops.dev import postgres
from smartops.dev.demo.accounts import ADMIN
from smartops.dev.demo.cluster import Cluster, sandbox
from smartops.dev.demo.processes import Processes, post_mortem
from smartops.dev.demo.screen import Screen
from smartops.dev.demo.state import Credentials, DemoError, unused_port

READY_WITHIN = 60.0  # seconds
# Names of another database, cluster or installation: none of them is the demo's to use.
FOREIGN = ("SMARTOPS_", "DATABASE_", "DJANGO_", "KUBECONFIG", "PG")

A = TypeVar("A")
B = TypeVar("B")


class Installation:
    """Keeps its files in the directory `state` and serves on `listener`. If `kubeconfig` is None, it uses a sandbox."""

    cluster: Cluster
    settings: dict[str, str]  # the environment of the web process, once the processes have started

    def __init__(self, state: Path, listener: socket.socket, kubeconfig: Path | None, screen: Screen) -> None:
        self._state, self._listener, self._kubeconfig, self._screen = state, listener, kubeconfig, screen
        self._credentials = Credentials.of(state)
        self._processes = Processes(state, environment(os.environ))
        self._postgres: asyncio.Task[postgres.Server] | None = None
        self.failure = self._processes.failure

    async def start(self) -> dict[str, Any]:
        """Returns the contents of demo.json when all processes are ready."""
        database, self.cluster = await _both(self._prepare_database(), self._join_cluster())
        url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.settings = {
            **self._settings(),
            "SMARTOPS_CONSOLE_URL": f"{url}/console",
            "DATABASE_URL": database.uri_of(postgres.WEB_ROLE),
            "SMARTOPS_KUBECONFIG": str(self.cluster.kubeconfig),
            "SMARTOPS_CLUSTER_NOTE": "sandbox" if self.cluster.url else "",
        }
        metrics_port = unused_port()
        endpoint = f"http://127.0.0.1:{metrics_port}"
        descriptor = self._listener.fileno()
        web = await self._processes.start(
            "web", sys.executable, "manage.py", "serve", "--fd", str(descriptor),
            environment=self.settings, pass_fds=[descriptor],
        )  # fmt: skip
        reconciler = await self._processes.start(
            "reconciler", sys.executable, "manage.py", "reconcile",
            "--metrics-host", "127.0.0.1", "--metrics-port", str(metrics_port),
            environment=self.settings | {"DATABASE_URL": database.uri_of(postgres.RECONCILER_ROLE)},
        )  # fmt: skip
        await _both(
            self._ready("web", f"{url}/readyz", "the web process is ready"),
            self._ready("reconciler", f"{endpoint}/readyz", "the reconciler is ready"),
        )
        return {
            "url": url,
            "token": self._credentials.token,
            "admin": {"username": ADMIN, "password": self._credentials.admin_password},
            "kubeconfig": str(self.cluster.kubeconfig),
            "sandbox": self.cluster.url,
            "database_url": database.uri_of(postgres.WEB_ROLE),
            "metrics": {"web": f"{url}/metrics", "reconciler": f"{endpoint}/metrics"},
            "pids": {
                "web": web.pid,
                "reconciler": reconciler.pid,
                "sandbox": self.cluster.pid,
                "postgres": database.pid,
            },
        }

    async def stop(self) -> None:
        """Stop the reconciler, the web process, the sandbox and PostgreSQL, in the order of their dependencies."""
        await self._processes.stop()
        if self._postgres is not None:
            await asyncio.wait({self._postgres})  # a start cannot be interrupted halfway
            await asyncio.to_thread(postgres.stop, self._state / "postgres", timeout=5.0)

    async def _prepare_database(self) -> postgres.Server:
        self._postgres = asyncio.create_task(asyncio.to_thread(postgres.start, self._state / "postgres"))
        try:
            server = await asyncio.shield(self._postgres)
        except postgres.PostgresError as error:
            raise DemoError(str(error)) from error
        self._processes.follow("postgres", server.pid, self._state / "postgres" / "log")
        self._screen.progress("PostgreSQL accepts connections")
        secrets = {"ADMIN_PASSWORD": self._credentials.admin_password, "AGENT_TOKEN": self._credentials.token}
        variables = self._settings() | {"DATABASE_URL": server.uri} | secrets
        command = (sys.executable, "-m", "smartops.dev.demo.accounts")
        token = await self._processes.run("migrate", *command, environment=variables)
        self._credentials.token = token.strip()
        self._credentials.save(self._state)
        self._screen.progress("the database is migrated")
        return server

    async def _join_cluster(self) -> Cluster:
        if self._kubeconfig is None:
            cluster = await sandbox(self._processes, self._state)
            self._screen.progress("the sandbox cluster serves the Kubernetes API")
        else:
            cluster = Cluster(self._processes, self._kubeconfig)
        await cluster.populate(self._state / "workloads.json")
        self._screen.progress("the workloads of the demo are available")
        return cluster

    async def _ready(self, name: str, url: str, then: str) -> None:
        try:
            async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
                while not await _answers(session, url):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            what = f"{name} is not ready after {READY_WITHIN:.0f} s"
            raise DemoError(post_mortem(what, self._processes.log(name))) from None
        self._screen.progress(then)

    def _settings(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "smartops.settings",
            "SMARTOPS_SECRET_KEY": self._credentials.secret_key,
            "SMARTOPS_INSECURE_HTTP": "1",
            "SMARTOPS_NAMESPACES": "*",
            "SMARTOPS_LOG_FORMAT": "console",  # people read them
        }


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of child processes."""
    return {name: value for name, value in given.items() if not name.startswith(FOREIGN)} | {"PYTHONUNBUFFERED": "1"}


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with session.get(url) as response:
            return response.status == 200
    return False


async def _both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run both concurrently. If one fails, the other is cancelled and the error is raised without a group."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return one.result(), other.result()
