"""The reconciler's own port, as a kubelet and Prometheus use it."""

import socket
from dataclasses import dataclass

import pytest
import urllib3

from orchestrator.reconciler.endpoint import serve


@dataclass
class Loop:
    alive: bool = True
    ready: bool = True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def port(loop: Loop) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    serve(loop, "127.0.0.1", number)
    return number


def status(port: int, path: str) -> int:
    return urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=5, retries=False).status


def test_a_loop_that_turns_is_alive_and_ready(port: int) -> None:
    assert [status(port, path) for path in ("/healthz", "/readyz", "/metrics", "/else")] == [200, 200, 200, 404]


def test_a_loop_that_stands_still_is_neither(port: int, loop: Loop) -> None:
    loop.alive = loop.ready = False
    assert [status(port, path) for path in ("/healthz", "/readyz", "/metrics")] == [503, 503, 200]


def test_a_client_that_says_nothing_keeps_nobody_waiting(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert status(port, "/healthz") == 200
