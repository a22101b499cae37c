"""Responses that stream: no faster than the client takes, and never complete by mistake (tests/kit/streaming.py)."""

import time
from collections.abc import Iterator

import pytest

from tests.kit.patience import PATIENCE, eventually
from tests.kit.web import Web
from tests.kit.wire import Closed, Wire, ask
from tests.smartops.edge.conftest import NO_DATABASE

PIECE = 65536
KERNEL = 200  # pieces that the buffers of both sockets take at most


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    started = Web(NO_DATABASE, program=("-m", "tests.kit.streaming"), STALLED=str(PATIENCE))
    yield started
    started.stop()


@pytest.fixture
def hasty() -> Iterator[Web]:
    started = Web(NO_DATABASE, program=("-m", "tests.kit.streaming"), STALLED="2")
    yield started
    started.stop()


def pieces(web: Web) -> int:
    return int(ask(web.port, "GET /sent HTTP/1.1").body)


def test_an_application_sends_no_faster_than_its_client_takes(web: Web) -> None:
    with Wire(web.port) as wire:
        wire.request("GET /endless HTTP/1.1")
        eventually(lambda: pieces(web) > 0)
        sent, before = pieces(web), 0
        while sent != before:  # until nothing more fits
            assert sent < KERNEL
            time.sleep(0.2)
            sent, before = pieces(web), sent
        wire.take(PIECE * sent)
        eventually(lambda: pieces(web) > sent)  # it goes on when the client takes more


def test_a_client_that_takes_nothing_is_disconnected(hasty: Web) -> None:
    with Wire(hasty.port) as wire:
        wire.request("GET /endless HTTP/1.1")

        assert wire.is_reset()
        with pytest.raises(Closed):
            wire.take(PIECE * KERNEL * 10)


def test_an_error_in_the_middle_of_a_response_ends_the_connection_without_the_last_chunk(web: Web) -> None:
    with Wire(web.port) as wire, pytest.raises(Closed):
        wire.request("GET /broken HTTP/1.1").response()
