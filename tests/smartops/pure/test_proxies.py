import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.edge.proxies import Proxies, network, parse_address

NAMED = Proxies.of(["10.0.0.0/8", "fd00::/8"])
PRIVATE = Proxies.of(["private"])
NONE = Proxies.of([])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.256", None),
    ],
)
def test_an_address_is_parsed_as_proxies_write_it(text: str, address: str | None) -> None:
    assert str(parse_address(text)) == str(address)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),  # not a proxy: it may claim what it likes
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.0.0.1", ["203.0.113.7:99"], "203.0.113.7"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),  # its proxy, then ours; it invented the first
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("socket", ["203.0.113.7"], "socket"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str, forwarded_for: list[str], client: str
) -> None:
    assert NAMED.client_of(peer, forwarded_for) == client


@given(st.text(), st.lists(st.text()))
def test_without_trusted_proxies_the_client_is_the_peer(peer: str, forwarded_for: list[str]) -> None:
    assert NONE.client_of(peer, forwarded_for) == str(parse_address(peer) or peer)


@pytest.mark.parametrize(("peer", "kept"), [("10.0.0.1", [b"x-forwarded-proto", b"host"]), ("192.0.2.1", [b"host"])])
def test_only_a_trusted_proxy_sets_the_scheme(peer: str, kept: list[bytes]) -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https"), (b"host", b"a")]

    client, left = NAMED.believed(peer, headers)

    assert [name for name, _ in left] == kept
    assert client == ("203.0.113.7" if len(kept) == 2 else peer)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 10.1.2.3"], "10.1.2.3"),  # a client of the company, which invented the first
        ("fd00::1", ["fd00::2"], "fd00::2"),
        ("203.0.113.9", ["203.0.113.7"], "203.0.113.9"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
    ],
)
def test_a_private_peer_is_one_proxy_by_default(peer: str, forwarded_for: list[str], client: str) -> None:
    assert PRIVATE.client_of(peer, forwarded_for) == client


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_network_of_ipv6(address: str, found: str) -> None:
    assert network(address) == found


@pytest.mark.parametrize("name", ["ingress", "10.0.0.1/8", "*", "private"])
def test_a_name_that_is_no_network_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        Proxies.of(["10.0.0.0/8", name])


def test_the_proxies_are_named_one_by_one_or_are_all_private_peers() -> None:
    named, private = Proxies.of(["10.0.0.0/8"]), Proxies.of(["private"])

    assert (named.are_named, named.trusts("10.1.2.3"), named.trusts("192.168.0.1")) == (True, True, False)
    assert (private.are_named, private.trusts("192.168.0.1"), private.trusts("192.0.2.1")) == (False, True, False)
