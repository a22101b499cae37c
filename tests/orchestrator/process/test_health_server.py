"""The HTTP server of the reconciler, as a kubelet and Prometheus use it."""

import errno
import socket
import threading
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import urllib3

from orchestrator.process import health_server
from orchestrator.process.health_server import serve
from signals.lib.sockets import listen, shown
from tests.kit.patience import PATIENCE, eventually
from tests.kit.wire import Wire

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
    listener = listen("127.0.0.1", 0)
    serve(loop, permissions, listener)
    return int(listener.getsockname()[1])


def get(port: int, path: str) -> tuple[int, list[str]]:
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=PATIENCE, retries=False)
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


def test_clients_that_send_slowly_do_not_delay_a_probe(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(health_server, "MAX_DURATION", 2 * PATIENCE)  # no other limit ends them
    monkeypatch.setattr(health_server._Handler, "timeout", 2 * PATIENCE)
    before = threading.active_count()  # with threads of other tests
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).send(b"GET /hea")
        assert get(port, "/healthz")[0] == 200
        eventually(lambda: threading.active_count() <= before + 4)


def test_a_connection_is_ended_after_a_while_whatever_it_sends(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "MAX_DURATION", 1.0)
    with Wire(port) as wire:
        wire.drip(b"x", 0.1)  # for a minute at most: long before the line is too long


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/else"])
def test_head_is_answered_as_get_without_the_body(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.0 404" if path == "/else" else b"HTTP/1.0 200")
    assert answer.endswith(b"\r\n\r\n")


def test_other_methods_are_refused(port: int) -> None:
    answer = urllib3.request("POST", f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE, retries=False)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("", {"127.0.0.1", "[::1]"}),
        ("::", {"127.0.0.1", "[::1]"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("::1", {"[::1]"}),
        ("[::1]", {"[::1]"}),
    ],
)
def test_the_probes_listen_on_the_families_of_their_host(
    loop: Loop, permissions: Permissions, host: str, served: set[str]
) -> None:
    listener = listen(host, 0)
    serve(loop, permissions, listener)
    port = int(listener.getsockname()[1])

    def answers(address: str) -> bool:
        try:
            return (
                urllib3.request("GET", f"http://{address}:{port}/healthz", timeout=PATIENCE, retries=False).status
                == 200
            )
        except urllib3.exceptions.HTTPError:
            return False

    assert {address for address in ("127.0.0.1", "[::1]") if answers(address)} == served
    assert shown(listener).startswith("0.0.0.0:" if host == "0.0.0.0" else "[::")


@pytest.mark.parametrize(("number", "lacks_ipv6"), [(errno.EAFNOSUPPORT, True), (errno.EADDRINUSE, False)])
def test_without_ipv6_all_addresses_are_those_of_ipv4(
    monkeypatch: pytest.MonkeyPatch, number: int, lacks_ipv6: bool
) -> None:
    create_server = socket.create_server

    def refuse_ipv6(address: tuple[str, int], **options: Any) -> socket.socket:
        if options.get("family") == socket.AF_INET6:
            raise OSError(number, "refused")
        return create_server(address, **options)

    monkeypatch.setattr(socket, "create_server", refuse_ipv6)
    with nullcontext() if lacks_ipv6 else pytest.raises(OSError, match="refused"), listen("", 0) as listener:
        assert shown(listener).startswith("0.0.0.0:")


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
