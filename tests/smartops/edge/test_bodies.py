"""What a client sends is counted while it arrives, on real sockets."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from smartops.edge.connection import SHARE
from smartops.tokens import ALPHABET, Scope, checksum, issue
from smartops.web.bodies import MAX_FORM, MAX_UNVERIFIED, MEBIBYTE
from tests.kit.web import Web
from tests.kit.wire import Closed, Response, Wire

LOOKUP, SECRET = "a" * 12, "b" * 32
FORMED = f"Authorization: Bearer smo_{LOOKUP}_{SECRET}{checksum(LOOKUP, SECRET)}"
MISTYPED = f"{FORMED[:-1]}{ALPHABET[ALPHABET.index(FORMED[-1]) - 1]}"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def memory(web: Web) -> int:
    """Peak of the process, in bytes."""
    [line] = [one for one in Path(f"/proc/{web.pid}/status").read_text().splitlines() if "VmHWM" in one]
    return int(line.split()[1]) * 1024


def loop_time(web: Web) -> float:
    """Seconds of processor time of the event loop, which is the main thread. No other process makes it longer."""
    return int(Path(f"/proc/{web.pid}/task/{web.pid}/schedstat").read_text().split()[0]) / 1e9


def problem(response: Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status, json.loads(response.body)["reason"]


@pytest.mark.parametrize("path", ["/v1/signals/anomaly", "/v1/signals/batch", "/v1/k8s/scale", "/v1/nowhere"])
@pytest.mark.parametrize("length", ["Content-Length: 1000", "Content-Length: 314572800", CHUNKED])
@pytest.mark.parametrize(
    "caller", ["X-Nobody: 1", MISTYPED, "Authorization: Basic YTpi"], ids=["none", "typo", "basic"]
)
def test_without_a_token_the_api_reads_no_body(web: Web, path: str, length: str, caller: str) -> None:
    with Wire(web.port) as wire:
        response = wire.request(f"POST {path} HTTP/1.1", length, caller, JSON).response()  # and not a byte of it

    assert response.status in (401, 404)
    assert response.headers["connection"] == "close"
    assert path == "/v1/nowhere" or problem(response) == (401, "Unauthenticated")


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/signals/anomaly", MEBIBYTE),
        ("/v1/signals/batch", 4 * MEBIBYTE),
        ("/v1/signals/%62atch", 4 * MEBIBYTE),
        ("/v1/nowhere", MEBIBYTE),
        ("/", MAX_FORM),
        ("/healthz", MAX_FORM),
        ("/metrics", MAX_FORM),
        ("/admin/login/", MAX_FORM),
        ("/console/", MAX_FORM),
        ("/static/console/console.css", MAX_FORM),
        ("//v1/signals/batch", MAX_FORM),
        ("/V1/signals/batch", MAX_FORM),
        ("/v1", MAX_FORM),
        ("http://localhost/v1/signals/anomaly", MEBIBYTE),
    ],
)
def test_a_body_that_announces_too_much_is_refused_before_it_is_sent(web: Web, path: str, limit: int) -> None:
    with Wire(web.port) as wire:
        wire.request(f"POST {path} HTTP/1.1", f"Content-Length: {limit + 1}", FORMED, JSON)
        response = wire.response()

    assert problem(response) == (413, "BodyTooLarge")
    assert json.loads(response.body)["details"] == {"limit": limit}


def test_a_chunked_body_is_refused_as_soon_as_it_exceeds_the_limit(web: Web) -> None:
    before, piece, sent = memory(web), chunk(b"x" * 65536), 0
    with Wire(web.port) as wire:
        wire.request("POST /admin/login/ HTTP/1.1", CHUNKED)
        with suppress(OSError):
            while sent < 300 * MEBIBYTE:
                wire.send(piece)
                sent += len(piece)
    assert sent < 32 * MEBIBYTE
    assert memory(web) - before < 8 * MEBIBYTE


def test_the_response_reaches_a_client_that_still_sends(web: Web) -> None:
    with Wire(web.port) as wire:
        wire.request("POST / HTTP/1.1", f"Content-Length: {2 * MEBIBYTE}").send(b"x" * MEBIBYTE)
        response = wire.response()
        wire.send(b"x" * 1000)

    assert problem(response) == (413, "BodyTooLarge")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n" * 5000),
        ("application/x-www-form-urlencoded", b"&a=" * 85_000),
    ],
    ids=["multipart", "urlencoded"],
)
def test_the_event_loop_parses_no_forms(web: Web, content_type: str, body: bytes) -> None:
    """It takes no more time for a form than for other bytes."""
    spent = []
    for given in ("application/octet-stream", content_type):
        before = loop_time(web)
        with Wire(web.port) as wire:
            wire.request("POST / HTTP/1.1", f"Content-Type: {given}", body=body)
            assert wire.response().status in (302, 403, 405)
        spent.append(loop_time(web) - before)
    other, form = spent
    assert form < 3 * other + 0.005


def test_a_client_that_expects_100_continue_gets_it_only_if_its_body_is_read(web: Web) -> None:
    with Wire(web.port) as wire:
        wire.request("POST /admin/login/ HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")
        assert wire.response().status == 100
        assert wire.send(b"a=b").response().status == 403
    with Wire(web.port) as wire:
        wire.request("POST /v1/signals/anomaly HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")
        assert wire.response().status == 401
    with Wire(web.port) as wire:
        wire.request("POST /admin/login/ HTTP/1.0", "Content-Length: 3", "Expect: 100-continue", body=b"a=b")
        assert wire.response().status == 403


def test_small_chunks_cost_their_peer_time_and_nobody_else(web: Web) -> None:
    """A body in chunks of one byte takes a hundred times as long to parse as one in large chunks."""
    with Wire(web.port) as quiet, Wire(web.port, source="127.0.0.2") as wire:
        began, before = time.monotonic(), loop_time(web)
        wire.request("POST /admin/login/ HTTP/1.1", CHUNKED)
        wire.send(chunk(b"x") * 20_000 + chunk(b""))
        assert quiet.request("GET /healthz HTTP/1.1").response().status == 200
        assert wire.response().status == 403
        assert loop_time(web) - before < 3 * SHARE * (time.monotonic() - began)


@pytest.mark.parametrize("path", ["/v1/signals/batch", "/"])
def test_a_connection_is_closed_after_a_body_that_was_not_read(web: Web, path: str) -> None:
    """Its rest would be taken for the next request."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Wire(web.port) as wire:
        wire.request(f"POST {path} HTTP/1.1", f"Content-Length: {8 * MEBIBYTE}", body=smuggled)
        assert wire.response().status in (401, 413)
        with pytest.raises(Closed):
            wire.response()


def test_unfinished_forms_of_one_client_leave_room_for_those_of_others(web: Web) -> None:
    with ExitStack() as unfinished:
        for length in [MAX_FORM] * 40 + [1024] * 40:
            wire = unfinished.enter_context(Wire(web.port, source="127.0.0.2"))
            wire.request("POST /admin/login/ HTTP/1.1", f"Content-Length: {length}").send(b"x" * (length - 1))
        tries = (_status_of_a_form(web, "127.0.0.2") for _ in range(100))
        assert 503 in tries  # as soon as the unfinished ones have arrived
        assert _status_of_a_form(web, "127.0.0.3") == 403  # of the protection against forged forms: the body was read


def _status_of_a_form(web: Web, source: str) -> int:
    with Wire(web.port, source=source) as wire:
        return wire.request("POST /admin/login/ HTTP/1.1", body=b"x" * MAX_FORM).response().status


def test_unfinished_bodies_without_a_valid_token_leave_room_for_those_with_one(serve: Callable[..., Web]) -> None:
    web, token = serve(), issue("agent", Scope)
    with ExitStack() as unfinished:
        for host in range(2, 5):
            for _ in range(200):
                wire = unfinished.enter_context(Wire(web.port, source=f"127.0.0.{host}"))
                length = f"Content-Length: {MAX_UNVERIFIED}"
                wire.request("POST /v1/signals/anomaly HTTP/1.1", FORMED, JSON, length).send(
                    b"x" * (MAX_UNVERIFIED - 1)
                )
        for size in (MAX_UNVERIFIED, 3 * MEBIBYTE):
            with Wire(web.port) as caller:
                caller.request(
                    "POST /v1/signals/batch HTTP/1.1", f"Authorization: Bearer {token}", JSON, body=b" " * size
                )
                assert problem(caller.response()) == (400, "MalformedBody")
