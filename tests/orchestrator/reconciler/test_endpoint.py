"""The reconciler's own port, as a kubelet and Prometheus use it."""

import socket
from dataclasses import dataclass

import pytest
import urllib3

from orchestrator.process.health_server import serve


@dataclass
class Loop:
    alive: bool = True
    ready: bool = True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@dataclass
class Rights:
    missing: tuple[str, ...] = ()
    passed: bool = True


@pytest.fixture
def rights() -> Rights:
    return Rights()


@pytest.fixture
def port(loop: Loop, rights: Rights) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    serve(loop, rights, "127.0.0.1", number)
    return number


def readiness(port: int) -> tuple[int, list[str]]:
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", timeout=5, retries=False)
    return answer.status, answer.data.decode().splitlines()


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


def test_rights_that_are_missing_are_named_one_a_line_and_keep_it_from_being_ready(port: int, rights: Rights) -> None:
    rights.missing, rights.passed = ("missing: patch", "missing: watch"), False
    assert readiness(port) == (503, ["missing: patch", "missing: watch"])


def test_before_its_rights_are_known_it_is_not_ready(port: int, rights: Rights) -> None:
    rights.passed = False
    assert readiness(port) == (503, ["our rights are not known yet"])


def test_a_right_that_it_can_do_without_is_named_all_the_same(port: int, rights: Rights) -> None:
    rights.missing = ("missing: create events (optional)",)
    assert readiness(port) == (200, ["ok", "missing: create events (optional)"])


def test_without_its_cluster_it_is_not_ready_whatever_its_rights(port: int, loop: Loop) -> None:
    loop.ready = False
    assert readiness(port) == (503, ["the cluster or the database is not to be had"])
