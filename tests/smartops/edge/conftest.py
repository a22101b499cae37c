from collections.abc import Iterator

import pytest

from tests.kit.constants import with_constants
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
    limits = with_constants("smartops.edge.connection", HEADER_TIMEOUT=1, BODY_TIMEOUT=2, IDLE_TIMEOUT=3, LINGER=2)
    started = Web(NO_DATABASE, program=limits)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def crowded() -> Iterator[Web]:
    """With room for 12 connections, 8 of a peer."""
    limits = with_constants("smartops.edge.server", MAX_CONNECTIONS=12, MAX_CONNECTIONS_OF_PEER=8)
    started = Web(NO_DATABASE, program=limits)
    yield started
    started.stop()
