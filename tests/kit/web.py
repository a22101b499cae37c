"""A web process of its own, and the notifications that it listens to."""

import os
import re
from collections.abc import Sequence
from itertools import takewhile
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.db import connection

from signals.lib.notifications import CHANNEL
from smartops.dev.postgres import WEB_ROLE
from tests.kit.patience import PATIENCE
from tests.kit.processes import PASSWORD, ended, start

SERVED_AT = re.compile(r"Listening on (\S+):(\d+)")


def notify(model: str, pk: str = "") -> None:
    """Send the notification that the triggers send when a row changes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{model}:{pk}"])


def heard(session: psycopg.Connection[Any]) -> list[str]:
    """The payloads that came since the session listens. Notifications come in the order of their commits: the one that
    is sent here is the last."""
    session.execute(f"NOTIFY {CHANNEL}, 'so far'")
    return list(takewhile("so far".__ne__, (note.payload for note in session.notifies(timeout=PATIENCE))))


class Web:
    """One web process on a port of its own, which connects to the database as the role of web processes. `more` is of
    its environment; `program` runs in place of manage.py, and is given its words."""

    def __init__(
        self,
        database_url: str,
        port: int = 0,
        host: str = "127.0.0.1",
        program: Sequence[str] = ("manage.py",),
        **more: str,
    ) -> None:
        given = urlsplit(database_url)
        url = given._replace(netloc=f"{WEB_ROLE}:{PASSWORD}@{given.netloc.rpartition('@')[2]}").geturl()
        environment = os.environ | {"DATABASE_URL": url, "SMARTOPS_INSECURE_HTTP": "1"} | more
        command = [*program, "serve", "--host", host, "--port", str(port)]
        self._output = NamedTemporaryFile("r", prefix="smartops-web-")  # noqa: SIM115 - `stop` closes it
        self.process = start(command, Path(self._output.name), environment)
        assert self.process.pid is not None
        self.pid = self.process.pid
        self._written = ""
        while not (served := SERVED_AT.search("".join(self.log))):
            if wait([self.process.sentinel], 0.01):
                raise RuntimeError("".join(self.log))
        self.port = int(served[2])
        self.url = f"http://{served[1]}:{self.port}"

    @property
    def log(self) -> list[str]:
        """The lines that it has written."""
        if not self._output.closed:
            self._written += self._output.read()
        return self._written.splitlines(keepends=True)

    def stop(self) -> None:
        self.process.terminate()
        try:
            assert ended(self.process) is not None, "it did not end in time"
        finally:
            self.process.kill()
            self._written = "".join(self.log)
            self._output.close()
