"""Where the web process listens, and below which path it serves."""

import os
import socket
from collections.abc import Iterator

import pytest
from django.test import Client

from smartops.tokens import Scope, issue
from smartops.web.bodies import MEBIBYTE
from tests.kit.processes import ran
from tests.kit.web import Web
from tests.kit.wire import Wire, ask
from tests.smartops.edge.conftest import NO_DATABASE
from tests.smartops.edge.test_bodies import FORMED

ROOT = "/smartops"
has_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")


def answers(host: str, port: int) -> bool:
    try:
        with Wire(port, host) as wire:
            return wire.request("GET /healthz HTTP/1.1", "Host: [::1]").response().status == 200
    except OSError:
        return False


@has_ipv6
@pytest.mark.parametrize(
    ("host", "served"),
    [("", {"127.0.0.1", "::1"}), ("[::1]", {"::1"})],
)
def test_the_web_process_listens_on_the_families_of_its_host(host: str, served: set[str]) -> None:
    """All forms of a host are in a table of test_sockets.py."""
    web = Web(NO_DATABASE, host=host)
    try:
        assert {one for one in ("127.0.0.1", "::1") if answers(one, web.port)} == served
    finally:
        web.stop()


def test_a_port_that_is_taken_is_named(below: Web) -> None:
    variables = os.environ | {"DATABASE_URL": NO_DATABASE, "SMARTOPS_INSECURE_HTTP": "1"}
    code, printed = ran(["manage.py", "serve", "--host", "127.0.0.1", "--port", str(below.port)], variables)
    assert code == 1
    assert f"cannot listen on 127.0.0.1, port {below.port}: Address already in use" in printed
    assert "Traceback" not in printed


@pytest.fixture(scope="module")
def below(served_url: str) -> Iterator[Web]:
    """Below a path, behind a proxy that removes the path or not."""
    started = Web(served_url, SMARTOPS_ROOT_PATH=f"{ROOT}/")
    yield started
    started.stop()


@pytest.mark.parametrize("prefix", [ROOT, ""], ids=["kept by the proxy", "removed by the proxy"])
def test_all_paths_are_found_below_the_root_path(below: Web, prefix: str) -> None:
    for path, status in {
        "/healthz": 200,
        "/metrics": 200,
        "/v1/openapi.json": 200,
        "/v1/signals": 401,
        "/static/console/console.css": 200,
        "/admin/login/": 200,
        "/nowhere": 404,
    }.items():
        assert ask(below.port, f"GET {prefix}{path} HTTP/1.1").status == status, path


@pytest.mark.parametrize("prefix", [ROOT, ""])
def test_limits_by_path_hold_below_the_root_path(below: Web, prefix: str) -> None:
    for path, limit in (("/v1/signals/batch", 4 * MEBIBYTE), ("/v1/k8s/scale", MEBIBYTE)):
        for length, status in ((limit, 100), (limit + 1, 413)):
            with Wire(below.port) as wire:
                wire.request(
                    f"POST {prefix}{path} HTTP/1.1", f"Content-Length: {length}", FORMED, "Expect: 100-continue"
                )
                if length > limit:
                    assert wire.response().status == status
    assert ask(below.port, f"POST {prefix}/v1/k8s/scale HTTP/1.1", body=b"{}").headers["content-type"] == (
        "application/problem+json"
    )


@pytest.mark.parametrize("path", ["/", ROOT, f"{ROOT}/"])
def test_redirects_pages_and_cookies_are_below_the_root_path(below: Web, path: str) -> None:
    assert ask(below.port, f"GET {path} HTTP/1.1").headers["location"] == f"{ROOT}/console/"
    login = ask(below.port, f"GET {ROOT}/admin/login/ HTTP/1.1")
    assert f"Path={ROOT}/" in login.headers["set-cookie"]
    assert f'href="{ROOT}/static/admin/css/base.css"'.encode() in login.body
    location = ask(below.port, f"GET {ROOT}/console/ HTTP/1.1").headers.get("location", "")
    assert location.startswith(f"{ROOT}/admin/login/?next={ROOT}/console/")


def test_addresses_in_responses_are_below_the_root_path(below: Web, transactional_db: None, reading: Client) -> None:
    token = issue("agent", Scope)
    authorization, json_ = f"Authorization: Bearer {token}", "Content-Type: application/json"
    for number in range(2):
        body = b'{"windowId": "w%d", "service": "s%d", "isAnomaly": true, "score": 0.9, "type": "error"}'
        body %= (number, number)
        posted = ask(below.port, f"POST {ROOT}/v1/signals/anomaly HTTP/1.1", authorization, json_, body=body)
        assert posted.headers["location"].startswith(f"{ROOT}/v1/signals/")
    assert ask(below.port, f"GET {posted.headers['location']} HTTP/1.1", authorization).status == 200
    page = ask(below.port, f"GET {ROOT}/v1/signals?limit=1 HTTP/1.1", authorization)
    assert f'"next": "{ROOT}/v1/signals?limit=1&cursor='.encode() in page.body

    cookie = f"Cookie: sessionid={reading.cookies['sessionid'].value}"
    console = ask(below.port, "GET /console/ HTTP/1.1", cookie)
    assert f'hx-ws:connect="{ROOT}/console/changes?page={ROOT}/console/"'.encode() in console.body
    assert f'hx-get="{ROOT}/console/"'.encode() in console.body
    with Wire(below.port) as wire:
        wire.request(
            f"GET {ROOT}/console/changes?page={ROOT}/console/ HTTP/1.1", cookie, "Origin: http://localhost",
            "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )  # fmt: skip
        assert wire.response().status == 101
