"""A refusal as a value, in the shape of RFC 9457 (`application/problem+json`). Whoever notices raises it; the
composition root puts it on the wire."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from django.http import QueryDict


class RequestReason(StrEnum):
    """The reasons that lie in the request itself; a closed list, as that of the guardrails is."""

    MALFORMED_BODY = "MalformedBody"
    INVALID_REQUEST = "InvalidRequest"
    UNAUTHENTICATED = "Unauthenticated"
    SCOPE_MISSING = "ScopeMissing"
    NAMESPACE_FORBIDDEN = "NamespaceForbidden"
    NOT_FOUND = "NotFound"
    METHOD_NOT_ALLOWED = "MethodNotAllowed"
    IDEMPOTENCY_KEY_REUSED = "IdempotencyKeyReused"
    BODY_TOO_LARGE = "BodyTooLarge"
    UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType"
    BAD_REQUEST = "BadRequest"
    INTERNAL_ERROR = "InternalError"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"


class Problem(Exception):  # noqa: N818 - it is an answer
    """`status` is HTTP's, `reason` one CamelCase word, `detail` a sentence; `members` are whatever else helps: details,
    errors by field, verdicts, ids. None leaves a member out."""

    def __init__(self, status: int, reason: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = HTTPStatus(status), reason, detail
        self.members = {name: value for name, value in members.items() if value is not None}
        self.headers: dict[str, str] = {}

    def document(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "reason": self.reason,
            **self.members,
        }


def invalid(errors: Iterable[Mapping[str, Any]]) -> Problem:
    """422 of pydantic's errors, each with the field's name as the client wrote it: `rankedCauses[0].probability`."""
    fields = [{"field": field_name(error["loc"]), "message": error["msg"]} for error in errors]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in fields[:3])
    return Problem(422, RequestReason.INVALID_REQUEST, detail, errors=fields)


def require_known(given: QueryDict, known: Collection[str]) -> None:
    """A filter that is misspelt or given twice must not be lost: the list would look like an answer."""
    if unknown := [name for name in given if name not in known]:
        raise invalid({"loc": (name,), "msg": "There is no such query parameter"} for name in unknown)
    if repeated := [name for name, values in given.lists() if len(values) > 1]:
        raise invalid({"loc": (name,), "msg": "It is given more than once"} for name in repeated)


def field_name(location: Iterable[str | int]) -> str:
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name or "body"
