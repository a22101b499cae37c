"""A web process of its own, and the notifications that it listens to."""

import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from django.db import connection

from signals.lib.notifications import CHANNEL
from smartops.dev.postgres import WEB_ROLE
from tests.kit.patience import PATIENCE
from tests.kit.processes import PASSWORD

ROOT = Path(__file__).parents[2]
SERVED_AT = re.compile(r"Listening on (\S+):(\d+)")


def notify(model: str, pk: str = "") -> None:
    """Send the notification that the triggers send when a row changes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{model}:{pk}"])


class Web:
    """One web process on a port of its own, which connects to the database as the role of web processes. `more` is of
    its environment; `program` runs in place of manage.py."""

    def __init__(
        self, database_url: str, port: int = 0, host: str = "127.0.0.1", program: str = "manage.py", **more: str
    ) -> None:
        given = urlsplit(database_url)
        url = given._replace(netloc=f"{WEB_ROLE}:{PASSWORD}@{given.netloc.rpartition('@')[2]}").geturl()
        environment = os.environ | {"DATABASE_URL": url, "SMARTOPS_INSECURE_HTTP": "1"} | more
        command = [sys.executable, *program.split(), "serve", "--host", host, "--port", str(port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if served := SERVED_AT.search(line):
                self.port = int(served[2])
                break
        else:
            raise RuntimeError("".join(self.log))
        self.url = f"http://{served[1]}:{self.port}"
        self._reader = Thread(target=self.log.extend, args=[self.process.stderr])
        self._reader.start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
