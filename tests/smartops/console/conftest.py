"""The console's tests use plain HTTP, as a browser on loopback does."""

import pytest
from pytest_django.fixtures import Settings


@pytest.fixture(autouse=True)
def plain_http(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    settings.SMARTOPS_INSECURE_HTTP = True
