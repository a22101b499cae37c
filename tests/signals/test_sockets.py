"""Which addresses a listening socket has, for all forms of a host."""

import socket

import pytest

from signals.lib.sockets import listen, shown
from tests.kit.patience import PATIENCE

LOOPBACK = {"127.0.0.1", "::1"}


def accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize(
    ("host", "addresses", "begins"),
    [
        ("", LOOPBACK, "[::]:"),
        ("::", LOOPBACK, "[::]:"),
        ("[::]", LOOPBACK, "[::]:"),
        ("0.0.0.0", {"127.0.0.1"}, "0.0.0.0:"),
        ("::1", {"::1"}, "[::1]:"),
        ("[::1]", {"::1"}, "[::1]:"),
        ("127.0.0.1", {"127.0.0.1"}, "127.0.0.1:"),
    ],
)
def test_a_socket_listens_on_the_families_of_its_host(host: str, addresses: set[str], begins: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert {address for address in LOOPBACK if accepts(address, port)} == addresses
        assert shown(listener).startswith(begins)
