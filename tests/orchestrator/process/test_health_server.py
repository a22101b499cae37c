"""The HTTP server of the reconciler, as a kubelet and Prometheus use it."""

import socket
from dataclasses import dataclass, field

import pytest
import urllib3

from orchestrator.process.health_server import serve

STALLED = "control loop stalled: no pass for 42 s"
NOT_SYNCED = "cache not synced: horizontalpodautoscalers in namespace shop"


@dataclass
class Loop:
    alive: bool = True
    reported: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        return self.reported

    def warnings(self) -> list[str]:
        return self.warned


@pytest.fixture
def loop() -> Loop:
    return Loop()


@dataclass
class Permissions:
    missing: tuple[str, ...] = ()
    passed: bool = True


@pytest.fixture
def permissions() -> Permissions:
    return Permissions()


@pytest.fixture
def port(loop: Loop, permissions: Permissions) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    serve(loop, permissions, "127.0.0.1", number)
    return number


def get(port: int, path: str) -> tuple[int, list[str]]:
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=5, retries=False)
    return answer.status, answer.data.decode().splitlines()


def test_a_working_loop_is_alive_and_ready(port: int) -> None:
    assert get(port, "/healthz") == get(port, "/readyz") == (200, ["ok"])
    assert get(port, "/metrics")[0] == 200
    assert get(port, "/else") == (404, ["/metrics /healthz /readyz"])


def test_a_stalled_loop_is_neither_alive_nor_ready(port: int, loop: Loop) -> None:
    loop.alive, loop.reported = False, [STALLED, NOT_SYNCED]
    assert get(port, "/healthz") == (503, [STALLED])
    assert get(port, "/readyz") == (503, [STALLED, NOT_SYNCED])
    assert get(port, "/metrics")[0] == 200


def test_an_idle_client_does_not_delay_a_probe(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/healthz")[0] == 200


def test_a_problem_makes_the_loop_unready_but_not_dead(port: int, loop: Loop) -> None:
    loop.reported = [NOT_SYNCED]
    assert get(port, "/healthz") == (200, ["ok"])
    assert get(port, "/readyz") == (503, [NOT_SYNCED])


def test_a_namespace_that_cannot_be_read_is_named_and_leaves_the_loop_ready(port: int, loop: Loop) -> None:
    loop.warned = [NOT_SYNCED]
    assert get(port, "/readyz") == (200, ["ok", NOT_SYNCED])
    loop.reported = [STALLED]
    assert get(port, "/readyz") == (503, [STALLED, NOT_SYNCED])


def test_each_missing_permission_has_a_line(port: int, permissions: Permissions) -> None:
    permissions.missing, permissions.passed = ("missing permission: patch", "missing permission: watch"), False
    assert get(port, "/readyz") == (503, ["missing permission: patch", "missing permission: watch"])


def test_a_pending_permission_check_makes_the_loop_unready(port: int, loop: Loop, permissions: Permissions) -> None:
    permissions.passed = False
    assert get(port, "/readyz") == (503, ["permission check pending"])
    loop.reported = [NOT_SYNCED]
    assert get(port, "/readyz") == (503, [NOT_SYNCED, "permission check pending"])


def test_a_missing_optional_permission_is_listed_and_leaves_the_loop_ready(
    port: int, loop: Loop, permissions: Permissions
) -> None:
    permissions.missing = ("missing permission (optional): create events",)
    assert get(port, "/readyz") == (200, ["ok", "missing permission (optional): create events"])
    loop.reported = [NOT_SYNCED]
    assert get(port, "/readyz") == (503, [NOT_SYNCED, "missing permission (optional): create events"])
