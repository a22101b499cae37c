"""What reverse proxies say of a request, and which of them to believe. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Headers = list[tuple[bytes, bytes]]

FORWARDED_FOR, FORWARDED_PROTO = b"x-forwarded-for", b"x-forwarded-proto"
PRIVATE = "private"
# RFC 1918, RFC 6598 (nodes of some clouds), RFC 4193, and loopback.
PRIVATE_NETWORKS = tuple(
    map(
        ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1")
    )
)
SUBNET = 64  # bits that the subnet of an IPv6 host has: its owner may use every address of it


@dataclass(frozen=True, slots=True)
class Proxies:
    """Peers whose headers are believed. `are_named`: an operator lists all of them, so a chain of proxies can be
    followed. Otherwise each may be the only proxy, or a client."""

    networks: tuple[Network, ...] = ()
    are_named: bool = True

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Addresses and networks, or `private` alone. Raises ValueError if one is neither."""
        if (listed := list(names)) == [PRIVATE]:
            return cls(PRIVATE_NETWORKS, are_named=False)
        return cls(tuple(map(ip_network, listed)))

    def trusts(self, peer: str) -> bool:
        address = parse_address(peer)
        return address is not None and any(address in network for network in self.networks)

    def client_of(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """The address of the client. Each proxy appends the address of its own peer. What stands before the address of
        a peer that is no proxy may be invented. The search ends at an entry that is no address."""
        client = peer
        for entry in reversed([entry for value in forwarded_for for entry in value.split(",") if entry.strip()]):
            if not self.trusts(client) or parse_address(entry) is None:
                break
            client = entry
            if not self.are_named:
                break
        return str(parse_address(client) or client)

    def believed(self, peer: str, headers: Headers) -> tuple[str, Headers]:
        """The address of the client, and the headers without those that only a proxy may set."""
        given = [value.decode("latin-1") for name, value in headers if name == FORWARDED_FOR]
        hidden = (FORWARDED_FOR,) if self.trusts(peer) else (FORWARDED_FOR, FORWARDED_PROTO)
        return self.client_of(peer, given), [(name, value) for name, value in headers if name not in hidden]


def parse_address(text: str) -> Address | None:
    """An address, also with a port or a zone. On a dual-stack socket an IPv4 peer is `::ffff:192.0.2.1`."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def network(address: str) -> str:
    """What one client controls: an IPv4 address, or the /64 of an IPv6 address."""
    found = parse_address(address)
    return str(ip_network((found, SUBNET), strict=False)) if isinstance(found, IPv6Address) else str(found or address)
