from collections.abc import Iterator

import pytest

from tests.kit.web import Web

NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture(scope="package")
def web() -> Iterator[Web]:
    """What these tests ask of it needs no database."""
    started = Web(NO_DATABASE, SMARTOPS_TRUSTED_PROXIES="127.0.0.9")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def impatient() -> Iterator[Web]:
    """With time limits of seconds."""
    started = Web(NO_DATABASE, program=("-m", "tests.kit.impatient"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def crowded() -> Iterator[Web]:
    """With room for 12 connections, 8 of a peer."""
    started = Web(NO_DATABASE, program=("-m", "tests.kit.crowded"))
    yield started
    started.stop()
