"""The console's tests use plain HTTP, as a browser on loopback does."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.kit.constants import with_constants
from tests.kit.web import Web


@pytest.fixture(autouse=True)
def plain_http(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    settings.SMARTOPS_INSECURE_HTTP = True


@pytest.fixture(scope="module")
def web(served_url: str) -> Iterator[Web]:
    """A web process for the tests of a module. It checks the accounts of open pages each second, and not every 30."""
    started = Web(served_url, program=with_constants("smartops.console.consumers", RECHECK=1))
    yield started
    started.stop()
