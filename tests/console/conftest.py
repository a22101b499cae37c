"""People who read, the scene they see, and web processes that serve it to a browser."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from signals.lib.notifications import CHANNEL
from tests.console.scene import Hour, an_ordinary_hour

ROOT = Path(__file__).parents[2]
SERVED_AT = re.compile(r"Listening on TCP address (\S+):(\d+)")


def notify(model: str, pk: str = "") -> None:
    """As the triggers do when a row changes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{model}:{pk}"])


@pytest.fixture(autouse=True)
def plain_http(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    settings.SMARTOPS_INSECURE_HTTP = True


@pytest.fixture
def reader(db: None) -> User:
    return User.objects.create_user("rita")


@pytest.fixture
def reading(reader: User, client: Client) -> Client:
    client.force_login(reader)
    return client


@pytest.fixture
def hour(db: None) -> Hour:
    return an_ordinary_hour()


class Web:
    """One web process on a port of its own."""

    def __init__(self, database_url: str, port: int = 0) -> None:
        environment = os.environ | {"DATABASE_URL": database_url, "SMARTOPS_INSECURE_HTTP": "1"}
        command = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
        command.append("smartops.asgi:application")
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
        self.url = f"http://127.0.0.1:{self.port}"
        self._reader = Thread(target=self.log.extend, args=[self.process.stderr])
        self._reader.start()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serve(transactional_db: None, database_url: str) -> Iterator[Callable[..., Web]]:
    """Starts web processes on the test's own database."""
    url = urlsplit(database_url)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    started: list[Web] = []

    def start(port: int = 0) -> Web:
        started.append(Web(url, port))
        return started[-1]

    yield start
    for web in started:
        web.stop()
