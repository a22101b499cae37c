"""An error response as an exception, in the form of RFC 9457 (`application/problem+json`). `problem_handlers` turns it
into an HTTP response."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import QueryDict

from smartops.strict_json import Malformed

MAX_NAME = 128  # characters of a part of the path to a field


class RequestReason(StrEnum):
    """Errors of the request itself. The closed list beside `signals.reasons.Reason`."""

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
    SIGNAL_RATE_EXCEEDED = "SignalRateExceeded"
    TOO_MANY_WAITING_SIGNALS = "TooManyWaitingSignals"
    QUEUE_FULL = "QueueFull"
    DATABASE_UNAVAILABLE = "DatabaseUnavailable"
    OVERLOADED = "Overloaded"


class ProblemDetails(Exception):  # noqa: N818 - it is a response
    """`status` is the HTTP status, `reason` one CamelCase word, `detail` a sentence. `members` are further members of
    the document (details, errors, verdicts, ids); a member that is None is left out."""

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


def malformed(error: Malformed) -> ProblemDetails:
    """400 for JSON that is not strict."""
    field = field_name(error.path)
    errors = [{"field": field, "message": error.message}]
    return ProblemDetails(400, RequestReason.MALFORMED_BODY, f"{field}: {error.message}", errors=errors)


def too_large(what: str, value: int, limit: int) -> ProblemDetails:
    """413. `value` and `limit` in bytes."""
    details = {"value": value, "limit": limit}
    return ProblemDetails(
        413, RequestReason.BODY_TOO_LARGE, f"The {what} has more than {limit} bytes.", details=details
    )


def invalid(errors: Iterable[Mapping[str, Any]], within: Iterable[str | int] = ()) -> ProblemDetails:
    """422 from the errors of pydantic. Each names its field as the client wrote it: `rankedCauses[0].probability`.
    `within` is the path of what was validated."""
    fields = [{"field": field_name((*within, *error["loc"])), "message": error["msg"]} for error in errors]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in fields[:3])
    return ProblemDetails(422, RequestReason.INVALID_REQUEST, detail, errors=fields)


def unauthenticated(detail: str, error: str = "") -> ProblemDetails:
    """401. `error` is the code of RFC 6750 for a token that was sent and is not valid."""
    problem = ProblemDetails(401, RequestReason.UNAUTHENTICATED, detail)
    problem.headers["WWW-Authenticate"] = 'Bearer realm="smartops"' + (f', error="{error}"' if error else "")
    return problem


def not_found(what: str, id_: UUID) -> ProblemDetails:
    return ProblemDetails(404, RequestReason.NOT_FOUND, f"No {what} has the id {id_}.")


def require_known(given: QueryDict, known: Collection[str]) -> None:
    """Raises ProblemDetails (422) for unknown and repeated query parameters: ignoring one would return the wrong
    rows."""
    if unknown := [name for name in given if name not in known]:
        raise invalid({"loc": (name,), "msg": "Unknown query parameter"} for name in unknown)
    if repeated := [name for name, values in given.lists() if len(values) > 1]:
        raise invalid({"loc": (name,), "msg": "Query parameter is repeated"} for name in repeated)


def field_name(location: Iterable[str | int]) -> str:
    """A name that the client has made up, as that of a label, is shortened."""
    name = ""
    for part in location:
        if isinstance(part, str) and len(part) > MAX_NAME:
            part = f"{part[:MAX_NAME]}…"
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name or "body"
