"""Listening sockets of servers, for IPv4, IPv6 and both."""

import errno
import socket

BACKLOG = 512
ALL_IPV4, ALL = "0.0.0.0", "::"


def listen(host: str, port: int) -> socket.socket:
    """Listen on one address, given as an IPv4 or IPv6 address (in brackets or not) or as a name. An empty host, like
    `::`, stands for all addresses of both families; without IPv6, an empty host stands for those of IPv4.

    Raises OSError: the port is taken, or the host has no such address."""
    host = host.strip("[]")
    if host in ("", ALL):
        try:
            return socket.create_server((ALL, port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except (OSError, ValueError) as error:
            has_no_ipv6 = isinstance(error, ValueError) or error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
            if host or not has_no_ipv6:
                raise
            host = ALL_IPV4
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)


def shown(listener: socket.socket) -> str:
    """`host:port`, as in a URL."""
    host, port, *_ = listener.getsockname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
