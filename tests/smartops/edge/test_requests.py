"""What the header of a request may say, on real sockets."""

import json

import pytest

from smartops.web.access_log import LINES_OF_CLIENT
from tests.kit.web import Web
from tests.kit.wire import Closed, Wire, ask

PROXY = "127.0.0.9"  # of SMARTOPS_TRUSTED_PROXIES


@pytest.mark.parametrize("header", ["Daphne-Root-Path: /v1", "daphne-root-path: /v1", "Daphne_Root_Path: /v1"])
def test_a_client_cannot_name_the_prefix_of_the_paths(web: Web, header: str) -> None:
    assert ask(web.port, "GET /v1/metrics HTTP/1.1", header).status == 404
    assert ask(web.port, "GET /healthz HTTP/1.1", header).status == 200


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("GET /healthz HTTP/1.1", ["Host: a", "Host: a"], 400),
        ("GET http://localhost/healthz HTTP/1.1", [], 200),
        ("GET HTTP://localhost:8000/healthz?x=1 HTTP/1.1", [], 200),
        ("GET http://localhost/healthz HTTP/1.1", ["Host: elsewhere.example"], 200),
        ("GET http://elsewhere.example/v1/signals HTTP/1.1", [], 400),
        ("GET http://localhost HTTP/1.1", [], 302),
        ("OPTIONS * HTTP/1.1", [], 400),
        ("CONNECT localhost:22 HTTP/1.1", [], 400),
        ("GET healthz HTTP/1.1", [], 400),
        ("GET /healthz HTTP/1.0", [], 200),
        ("GET /healthz HTTP/2.0", [], 400),
        ("GET /healthz", [], 400),
        ("GET /v1/signals HTTP/1.1", ["Host: localhost."], 401),
        ("GET /v1/signals HTTP/1.1", ["Host: localhost:8000"], 401),
        ("GET /v1/signals HTTP/1.1", ["Host: [::1]:8000"], 401),
        ("GET /v1/signals HTTP/1.1", ["Host: elsewhere.example"], 400),
        ("GET /%76%31/signals HTTP/1.1", [], 401),
        ("GET /healthz HTTP/1.1", ["Content-Length: 1", "Content-Length: 2"], 400),
        ("POST /healthz HTTP/1.1", ["Content-Length: 1", "Transfer-Encoding: chunked"], 400),
        ("POST /healthz HTTP/1.1", ["Content-Length: -1"], 400),
        ("POST /healthz HTTP/1.1", ["Transfer-Encoding: gzip, chunked"], 400),
        ("GET /healthz HTTP/1.1", ["No colon"], 400),
        ("GET /healthz HTTP/1.1", ["A b: c"], 400),
        ("GET /healthz HTTP/1.1", [f"X-{number}: 1" for number in range(101)], 400),
        ("GET /healthz HTTP/1.1", [f"X-{number}: 1" for number in range(90)], 200),
        ("GET /healthz HTTP/1.1", ["X-Long: " + "x" * 17_000], 431),
        ("GET /healthz HTTP/1.1", [f"X-{number}: {'x' * 1000}" for number in range(20)], 431),
        (f"GET /{'x' * 17_000} HTTP/1.1", [], 414),
    ],
)  # fmt: skip
def test_a_header_is_understood_or_refused(web: Web, line: str, headers: list[str], status: int) -> None:
    assert ask(web.port, line, *headers).status == status


def test_http_1_1_needs_a_host_and_http_1_0_does_not(web: Web) -> None:
    with Wire(web.port) as wire:
        assert wire.send("GET /healthz HTTP/1.1\r\n\r\n").response().status == 400
    with Wire(web.port) as wire:
        response = wire.send("GET /healthz HTTP/1.0\r\n\r\n").response()
        assert (response.status, json.loads(response.body)) == (200, {"status": "ok"})


def test_a_header_without_an_end_is_refused_while_it_arrives(web: Web) -> None:
    with Wire(web.port) as wire:
        response = wire.send(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 40_000).response()
        assert response.status == 431
        assert response.headers["connection"] == "close"


@pytest.mark.parametrize(
    "path", ["/healthz", "/metrics", "/v1/openapi.json", "/admin/login/", "/static/console/console.css", "/"]
)
def test_head_is_answered_as_get_without_the_body(web: Web, path: str) -> None:
    with Wire(web.port) as wire:
        got = wire.request(f"GET {path} HTTP/1.1").response()
        head = wire.request(f"HEAD {path} HTTP/1.1").response("HEAD")
        assert head.status == got.status
        assert head.headers["content-type"] == got.headers["content-type"]
        assert wire.request("GET /healthz HTTP/1.1").response().status == 200  # no body came before it


def test_requests_in_a_pipeline_are_answered_in_order(web: Web) -> None:
    with Wire(web.port) as wire:
        wire.send(b"".join(b"GET /nowhere-%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % one for one in range(5)))
        wire.request("GET /healthz HTTP/1.1")
        assert [wire.response().status for _ in range(6)] == [404] * 5 + [200]


def test_a_pipeline_ends_with_the_connection(web: Web) -> None:
    with Wire(web.port) as wire:
        wire.request("GET /healthz HTTP/1.1", "Connection: close").request("GET /healthz HTTP/1.1")
        assert wire.response().status == 200
        with pytest.raises(Closed):
            wire.response()


@pytest.mark.parametrize(("source", "status"), [("127.0.0.1", 403), (PROXY, 503)], ids=["a stranger", "a proxy"])
def test_the_scheme_of_a_proxy_is_believed_if_it_is_trusted(web: Web, source: str, status: int) -> None:
    """A form may be posted by a page of the same scheme. 503: then the account is looked up, without a database."""
    with Wire(web.port, source=source) as wire:
        cookie = wire.request("GET /admin/login/ HTTP/1.1").response().headers["set-cookie"].partition(";")[0]
        form = f"username=a&password=b&csrfmiddlewaretoken={cookie.partition('=')[2]}".encode()
        wire.request(
            "POST /admin/login/ HTTP/1.1", "X-Forwarded-Proto: https", f"Cookie: {cookie}",
            "Content-Type: application/x-www-form-urlencoded", "Origin: https://localhost",
            "Referer: https://localhost/admin/login/", body=form,
        )  # fmt: skip
        assert wire.response().status == status


def test_a_forwarded_header_of_an_unknown_proxy_is_logged_once(web: Web) -> None:
    for _ in range(3):
        ask(web.port, "GET /healthz HTTP/1.1", "X-Forwarded-Proto: https")

    assert len([line for line in web.log if "SMARTOPS_TRUSTED_PROXIES does not name it" in line]) == 1


def test_requests_for_other_hosts_are_a_few_lines_of_the_log_without_tracebacks(web: Web) -> None:
    before = len(web.log)
    for number in range(30):
        assert ask(web.port, "GET /console/ HTTP/1.1", f"Host: x{number}.example").status == 400
    assert ask(web.port, "GET /v1/ HTTP/1.1").status == 404  # what was logged before has been written by now

    written = web.log[before:]
    assert "".join(written).count("Invalid HTTP_HOST header") <= LINES_OF_CLIENT
    assert "Invalid HTTP_HOST header: 'x0.example'" in "".join(written)
    assert "Traceback" not in "".join(written)
