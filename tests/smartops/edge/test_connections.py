"""The time limits and the number of connections (conftest.py has smaller ones)."""

import time
from contextlib import ExitStack

import pytest

from smartops.edge.connection import REPLACEMENTS, Connection, Connections
from tests.kit.simulation import SimulatedClock
from tests.kit.web import Web
from tests.kit.wire import Closed, Wire

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"\r\n"])
def test_a_header_that_drips_is_ended(impatient: Web, head: bytes) -> None:
    with Wire(impatient.port) as wire:
        wire.send(head + b"X-Slow: ")
        wire.drip(b"x", 0.1)


def test_a_header_that_stops_is_answered_408(impatient: Web) -> None:
    with Wire(impatient.port) as wire:
        began = time.monotonic()
        assert wire.send(b"GET / HTTP/1.1\r\nHost: loc").response().status == 408
        assert time.monotonic() - began > 0.5
        assert wire.rest() == b""


@pytest.mark.parametrize("header", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_a_body_that_drips_is_answered_408(impatient: Web, header: str) -> None:
    with Wire(impatient.port) as wire:
        began = time.monotonic()
        wire.request("POST /admin/login/ HTTP/1.1", header)
        for _ in range(600):  # of a tenth of a second
            wire.send(b"a" if "Length" in header else b"1\r\na\r\n")
            if wire.is_answered(within=0.1):
                break
        assert wire.response().status == 408
        assert time.monotonic() - began > 1.5


def test_a_client_that_sends_nothing_is_disconnected(impatient: Web) -> None:
    with Wire(impatient.port) as wire:
        assert wire.is_closed()


def test_an_idle_connection_is_kept_for_a_while_and_then_closed(impatient: Web) -> None:
    with Wire(impatient.port) as wire:
        assert wire.send(GET).response().status == 200
        began = time.monotonic()
        assert wire.send(GET).response().status == 200
        assert wire.is_closed()
        assert time.monotonic() - began > 2  # longer than a header may take


def test_a_client_that_does_not_stop_after_the_response_is_cut_off(impatient: Web) -> None:
    with Wire(impatient.port) as wire:
        wire.request("POST / HTTP/1.1", "Content-Length: 999999999")
        assert wire.response().status == 413
        wire.drip(b"x" * 1000, 0.02)


def test_clients_that_send_nothing_keep_nobody_out(crowded: Web) -> None:
    """Neither their own address, nor others."""
    with ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            for _ in range(20):
                stack.enter_context(Wire(crowded.port, source=source)).send(b"GET / HT")
        for source in ("127.0.0.2", "127.0.0.5"):
            with Wire(crowded.port, source=source) as wire:
                assert wire.send(GET).response().status == 200


def test_the_oldest_waiting_connection_of_a_peer_makes_room(crowded: Web) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(Wire(crowded.port, source="127.0.0.7"))
        kept.send(GET).response()
        wires = [stack.enter_context(Wire(crowded.port, source="127.0.0.6")) for _ in range(9)]
        for wire in wires[1:]:
            assert wire.send(GET).response().status == 200
        with pytest.raises((Closed, OSError)):
            wires[0].send(GET).response()
        assert kept.send(GET).response().status == 200  # of another peer


def test_a_peer_that_replaces_its_connections_too_fast_gets_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock()
    monkeypatch.setattr("smartops.edge.connection.monotonic", clock.monotonic)

    class Transport:
        def abortConnection(self) -> None:  # noqa: N802 - of Twisted
            closed.append(self)

    closed: list[Transport] = []
    connections = Connections(limit=100, peer_limit=3)

    def opens(peer: str) -> bool:
        connection = Connection()
        connection.transport = Transport()
        return connections.open(connection, peer, is_proxy=False)

    admitted = sum(opens("flood") for _ in range(1000))
    assert admitted == 3 + REPLACEMENTS
    assert len(closed) == admitted - 3
    assert opens("another peer")
    clock.advance(1.5 / REPLACEMENTS)
    assert [opens("flood"), opens("flood")] == [True, False]
