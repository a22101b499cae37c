"""Who calls the API: authentication by token, and what a token may read and change."""

from collections.abc import Callable
from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from ninja.security import HttpBearer

from orchestrator.models.refused_request import NO_TARGET, RefusedRequest
from smartops import tokens
from smartops.api.problems import ProblemDetails, RequestReason, unauthenticated
from smartops.people.access import EVERYTHING
from smartops.tokens import Principal, Scope

Row = TypeVar("Row", bound=Model)


class AuthenticatedRequest(HttpRequest):
    auth: Principal


class BearerToken(HttpBearer):
    """A GET needs the scope `read`, any other method the scope `write`. `require` may refuse a write before its body is
    parsed: it raises a ProblemDetails."""

    openapi_description = (
        "A token of `manage.py create_token`. Reading needs the scope `read`, posting signals `signals:write`, "
        "executing actions `actions:write`, trying rules `rules:try`. A token may be limited to namespaces."
    )

    def __init__(self, write: Scope, require: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._write, self._require = write, require

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        principal = tokens.verify(token)
        if principal is None:
            raise unauthenticated("The token is not valid: mistyped, unknown, expired or revoked.", "invalid_token")
        request.auth = principal  # type: ignore[attr-defined]  # a refusal is logged with its name
        needed = Scope.READ if request.method == "GET" else self._write
        if needed not in principal.scopes:
            detail = f"The token “{principal.name}” does not have the scope {needed}."
            details = {"needed": needed, "scopes": sorted(principal.scopes)}
            if needed is Scope.ACTIONS_WRITE:
                RefusedRequest.record(principal.actor, NO_TARGET, RequestReason.SCOPE_MISSING, detail)
            raise ProblemDetails(403, RequestReason.SCOPE_MISSING, detail, details=details)
        if self._require is not None and request.method != "GET":
            self._require()
        return principal


def require_namespace(principal: Principal, namespace: str) -> None:
    """Raises ProblemDetails (403) if the token is limited to other namespaces."""
    if not principal.allows(namespace):
        detail = f"The token “{principal.name}” does not cover the namespace “{namespace}”."
        details = {"namespaces": sorted(principal.namespaces)}
        raise ProblemDetails(403, RequestReason.NAMESPACE_FORBIDDEN, detail, details=details)


def readable(rows: QuerySet[Row], principal: Principal, namespace: str | None, field: str) -> QuerySet[Row]:
    """The rows of `namespace`, or of all namespaces that the token covers. `field` holds the namespace of a row."""
    return rows.filter(covered(principal, namespace, field))


def covered(principal: Principal, namespace: str | None, field: str = "namespace") -> Q:
    """The condition for them."""
    if namespace:
        require_namespace(principal, namespace)
        return Q(**{field: namespace})
    return Q(**{f"{field}__in": principal.namespaces}) if principal.namespaces else EVERYTHING
