"""The address of a client. Pure functions of what the connection and its headers say."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest

Header = tuple[bytes, bytes]


def peer(connected: str, forwarded_for: str, proxies: int) -> str:
    """The client's address. Each of the `proxies` in front of the process appends the address that it sees to
    X-Forwarded-For; what is further left comes from the client and proves nothing. `connected` is the other end of
    the connection: the answer if there is no proxy, or if the header has too few entries."""
    entries = [entry.strip() for entry in forwarded_for.split(",") if entry.strip()]
    named = entries[-proxies] if 0 < proxies <= len(entries) else ""
    found = _parse(named) or _parse(connected)
    return str(found) if found else "unknown"


def network(address: str) -> str:
    """What one client controls: an IPv4 address, or the /64 of an IPv6 address."""
    found = _parse(address)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64" if isinstance(found, IPv6Address) else address


def peer_of(request: HttpRequest) -> str:
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return peer(request.META.get("REMOTE_ADDR", ""), forwarded, settings.SMARTOPS_TRUSTED_PROXIES)


def peer_of_socket(scope: Any) -> str:
    """`scope` is that of ASGI."""
    headers: Iterable[Header] = scope["headers"]
    forwarded = ",".join(value.decode("latin1") for name, value in headers if name == b"x-forwarded-for")
    connected, *_ = scope.get("client") or [""]
    return peer(connected, forwarded, settings.SMARTOPS_TRUSTED_PROXIES)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """With or without a port. An IPv4 address that is written as IPv6 is the IPv4 address."""
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
