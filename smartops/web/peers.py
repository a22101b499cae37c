"""The address of a client. The edge has found it (smartops/edge/proxies.py): headers are not consulted again."""

from typing import Any

from django.http import HttpRequest

UNKNOWN = "unknown"


def peer_of(request: HttpRequest) -> str:
    return request.META.get("REMOTE_ADDR") or UNKNOWN


def peer_of_socket(scope: Any) -> str:
    """`scope` is that of ASGI."""
    address, *_ = scope.get("client") or [UNKNOWN]
    return str(address)
