"""Whose request it is: what the proxies say, and never what the client says."""

import pytest

from smartops.web.peers import network, peer


@pytest.mark.parametrize(
    ("connected", "forwarded", "proxies", "found"),
    [
        ("192.0.2.1", "", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 0, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.7", 1, "198.51.100.7"),
        ("192.0.2.1", "203.0.113.9, 198.51.100.7", 2, "203.0.113.9"),
        ("192.0.2.1", "198.51.100.7", 2, "192.0.2.1"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", " , ,198.51.100.7 ,", 1, "198.51.100.7"),
        ("192.0.2.1", "198.51.100.7:4711", 1, "198.51.100.7"),
        ("192.0.2.1", "[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("fe80::1%eth0", "", 0, "fe80::1"),
        ("192.0.2.1", "unknown", 1, "192.0.2.1"),
        ("192.0.2.1", "<script>", 1, "192.0.2.1"),
        ("", "", 0, "unknown"),
    ],
)
def test_the_client_is_who_the_nearest_trusted_proxy_saw(
    connected: str, forwarded: str, proxies: int, found: str
) -> None:
    assert peer(connected, forwarded, proxies) == found


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_network_of_ipv6(address: str, found: str) -> None:
    assert network(address) == found
