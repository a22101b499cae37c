"""Who calls the API. How that was found out is not the routers' concern."""

from collections.abc import Collection
from typing import Protocol

from django.http import HttpRequest

from smartops.api.problems import Problem, RequestReason


class Principal(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def namespaces(self) -> Collection[str]:
        """Where it may read and act; empty: everywhere."""

    def allows(self, namespace: str) -> bool: ...


class AuthenticatedRequest(HttpRequest):
    auth: Principal


def require_namespace(caller: Principal, namespace: str) -> None:
    if not caller.allows(namespace):
        detail = f"“{caller.name}” may not speak of the namespace “{namespace}”."
        raise Problem(403, RequestReason.NAMESPACE_FORBIDDEN, detail, details={"namespaces": sorted(caller.namespaces)})
