"""A caller of the API, people who read the console, and web processes that serve it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from threading import Timer
from threading import enumerate as threads
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from pytest_django.fixtures import Settings

from smartops.people.roles import Role
from smartops.web import access_log
from tests.kit.people import person
from tests.kit.web import Web
from tests.smartops.console.scene import Hour, an_ordinary_hour


@pytest.fixture
def fast_hashes(settings: Settings) -> None:
    """For sign-ins by Django's test client, which sends plain HTTP."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture(autouse=True)
def no_timers() -> Iterator[None]:
    """The timer of the access log would write after the end of the tests."""
    yield
    for thread in threads():
        if isinstance(thread, Timer) and thread.function is access_log.summarize:
            thread.cancel()


@pytest.fixture
def reader(db: None) -> User:
    """Who may see everything, and change nothing."""
    return person("rita", Role.VIEWER)


@pytest.fixture
def reading(reader: User, client: Client) -> Client:
    client.force_login(reader)
    return client


@pytest.fixture(scope="module")
def stored_hour(django_db_setup: None, django_db_blocker: Any) -> Iterator[Hour]:
    """Stored once for the tests of a module, in a transaction around theirs: the hour takes longer than a test. The
    tests that follow in the module see it too."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield an_ordinary_hour()
        transaction.set_rollback(True)


@pytest.fixture
def hour(stored_hour: Hour, db: None) -> Hour:
    """As it was stored: what a test changes is rolled back."""
    return deepcopy(stored_hour)


@pytest.fixture(scope="session")
def served_url(django_db_setup: None, database_url: str) -> str:
    """The URI of the tests' own database, for web processes."""
    return urlsplit(database_url)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


@pytest.fixture
def serve(transactional_db: None, served_url: str) -> Iterator[Callable[..., Web]]:
    """Starts web processes of a test."""
    started: list[Web] = []

    def start(port: int = 0, **more: str) -> Web:
        started.append(Web(served_url, port, **more))
        return started[-1]

    yield start
    for web in started:
        web.stop()
