"""Websockets on real sockets: who may open one, and what may be sent on it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from orchestrator.models import Action
from tests.kit.history import rewritable
from tests.kit.verbs import requested
from tests.kit.web import Web, notify
from tests.kit.wire import Response, Wire

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY]
CHANGES = "/console/changes"
OVERVIEW = f"{CHANGES}?page=/console/"
TRUSTED = "https://smartops.example.com,https://*.trusted.example"


@pytest.fixture(scope="module")
def web(served_url: str) -> Iterator[Web]:
    """On the database of the tests, and behind a proxy that rewrites Host."""
    started = Web(served_url, SMARTOPS_CSRF_TRUSTED_ORIGINS=TRUSTED)
    yield started
    started.stop()


@pytest.fixture
def session(transactional_db: None, reading: Client) -> str:
    """The header of a person who may see everything."""
    return f"Cookie: sessionid={reading.cookies['sessionid'].value}"


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A masked frame, with a mask of zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xff" + len(payload).to_bytes(8)
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload


def opened(wire: Wire, path: str = CHANGES, *headers: str) -> Response:
    return wire.request(f"GET {path} HTTP/1.1", *UPGRADE, *headers).response()


@pytest.mark.parametrize(
    "path", ["/", "/console/changes/", "/console/elsewhere", "/v1/signals", "//", "/%00", f"{CHANGES}x", "/%63onsole/x"]
)
def test_an_unknown_path_is_refused_without_an_error(web: Web, path: str) -> None:
    with Wire(web.port) as wire:
        assert opened(wire, path, "Origin: http://localhost").status == 403
    assert not [line for line in web.log if "Exception" in line or "Traceback" in line]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost", "http://localhost", 101),
        ("localhost:8000", "http://localhost:8000", 101),
        ("localhost", "http://localhost:8000", 403),  # another port is another site
        ("localhost", "https://localhost", 403),  # and another scheme
        ("localhost", "http://elsewhere.example", 403),
        ("elsewhere.example", "http://elsewhere.example", 403),  # not one of ALLOWED_HOSTS
        ("localhost", "null", 403),
        ("localhost", "", 403),
        ("upstream", "https://smartops.example.com", 101),  # a proxy has rewritten Host
        ("upstream", "https://smartops.example.com:8443", 403),
        ("upstream", "http://smartops.example.com", 403),
        ("localhost", "https://a.trusted.example", 101),
        ("localhost", "https://trusted.example.evil.example", 403),
        ("localhost.", "http://localhost.", 101),
        ("[::1]:8000", "http://[::1]:8000", 101),
    ],
)  # fmt: skip
def test_a_page_of_a_trusted_origin_opens_a_websocket(
    web: Web, session: str, host: str, origin: str, status: int
) -> None:
    with Wire(web.port) as wire:
        headers = [f"Host: {host}", session, *([f"Origin: {origin}"] if origin else [])]
        assert opened(wire, OVERVIEW, *headers).status == status


def test_a_websocket_that_ends_leaves_room_for_another(crowded: Web) -> None:
    for _ in range(20):  # more than the server has connections
        with Wire(crowded.port) as wire:
            assert opened(wire, "/nowhere", "Origin: http://localhost").status == 403


def test_a_message_that_is_too_large_closes_the_websocket(web: Web, session: str) -> None:
    with Wire(web.port) as wire:
        assert opened(wire, OVERVIEW, "Origin: http://localhost", session).status == 101
        wire.send(frame(b"x" * 100))
        wire.send(frame(b"x" * 5000))
        wire.rest()  # it ends


@pytest.mark.parametrize("payload", [b"x" * 100_000, b"GET / HTTP/1.1\r\n\r\n" * 10, b""])
def test_what_comes_before_the_answer_to_the_handshake_does_no_harm(web: Web, payload: bytes) -> None:
    with Wire(web.port) as wire:
        lines = [f"GET {CHANGES} HTTP/1.1", "Host: localhost", "Origin: http://localhost", *UPGRADE, "", ""]
        wire.send("\r\n".join(lines).encode() + payload)
        wire.rest()
    with Wire(web.port) as wire:
        assert wire.request("GET /healthz HTTP/1.1").response().status == 200
    assert not [line for line in web.log if "Exception" in line or "Traceback" in line]


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (f"POST {CHANGES} HTTP/1.1", UPGRADE, 405),
        (f"GET {CHANGES} HTTP/1.1", [one for one in UPGRADE if one != KEY], 400),
        (f"GET {CHANGES} HTTP/1.1", ["Upgrade: h2c", "Connection: Upgrade"], 404),
        (f"GET {CHANGES} HTTP/1.1", [*UPGRADE, "Content-Length: 5"], 404),
        (f"GET http://localhost{CHANGES} HTTP/1.1", UPGRADE, 403),
    ],
    ids=["method", "no key", "other protocol", "body", "absolute"],
)
def test_a_handshake_that_is_none_is_refused(web: Web, line: str, headers: list[str], status: int) -> None:
    with Wire(web.port) as wire:
        body = b"hello" if "Content-Length: 5" in headers else b""
        assert wire.request(line, *headers, body=body).response().status == status


def message(wire: Wire) -> Any:
    """The next one, from its frame."""
    while True:
        kind, length = wire.read(2)
        if width := {126: 2, 127: 8}.get(length):
            length = int.from_bytes(wire.read(width))
        payload = wire.read(length)
        if kind == 0x81:
            return json.loads(payload)


def test_a_client_that_reads_nothing_delays_nobody_and_its_messages_do_not_pile_up(web: Web, session: str) -> None:
    rows = [requested(f"shop-{number}").pk for number in range(50)]
    with rewritable(Action):
        Action.objects.update(message="\N{OGHAM LETTER BEITH}" * 300)
    with Wire(web.port, buffer=64_000) as slow, Wire(web.port) as other:
        for wire in (slow, other):
            assert opened(wire, f"{CHANGES}?page=/console/actions/", "Origin: http://localhost", session).status == 101
            assert "refresh" in message(wire)
        sent = 0
        while sent < 4_000_000:  # the kernel keeps less
            notify("action", ",".join(map(str, rows)))
            while "content" not in (found := message(other)) or "age" in found:
                pass
            sent += len(json.dumps(found))
        taken = 0
        while "refresh" not in (found := message(slow)):
            taken += len(json.dumps(found))
        assert found == {"rows": [], "refresh": 0}
        assert taken < sent / 2


def test_the_log_names_an_origin_that_is_not_trusted(web: Web) -> None:
    with Wire(web.port, source="127.0.0.2") as wire:  # the lines of the other tests' address may be used up
        assert opened(wire, CHANGES, "Origin: https://other.example").status == 403
        assert wire.is_closed()
    assert any("the origin 'https://other.example' is not trusted" in line for line in web.log)
