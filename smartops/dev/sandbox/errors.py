"""The errors of the API, with its messages. Each becomes a `Status` with code, reason, message and causes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from smartops.dev.sandbox.objects import encode
from smartops.dev.sandbox.resources import Kind


@dataclass(frozen=True, slots=True)
class Cause:
    """The problem of one field; `reason` is a cause type of the API, e.g. FieldValueInvalid."""

    field: str
    reason: str
    message: str


def wrong(field: str, value: object, why: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {encode(value).decode()}: {why}")


class ApiError(Exception):
    """`subject` is the group and usually the resource of the object; validation and preconditions name the kind
    instead. `continuation` is a new token for the requested page."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        subject: tuple[str, str] | None = None,
        name: str = "",
        causes: Sequence[Cause] = (),
        retry_after: int = 0,
        continuation: str = "",
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.subject, self.name = code, reason, message, subject, name
        self.causes, self.retry_after, self.continuation = tuple(causes), retry_after, continuation

    def status(self) -> dict[str, Any]:
        """The body of the response."""
        details: dict[str, Any] = {"name": self.name} if self.name else {}
        details |= {key: given for key, given in zip(("group", "kind"), self.subject or (), strict=False) if given}
        if self.causes:
            details["causes"] = [{key: said for key, said in asdict(cause).items() if said} for cause in self.causes]
        if self.retry_after:
            details["retryAfterSeconds"] = self.retry_after
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continuation} if self.continuation else {},
            "status": "Failure",
            "message": self.message,
            **({"reason": self.reason} if self.reason else {}),
            **({"details": details} if details else {}),
            "code": self.code,
        }


REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(
        404, "NotFound", f'{kind.resource} "{name}" not found', subject=(kind.group, kind.plural), name=name
    )


def already_exists(kind: Kind, name: str) -> ApiError:
    message = f'{kind.resource} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, subject=(kind.group, kind.plural), name=name)


def conflict(kind: Kind, name: str, why: str, subresource: str = "") -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    plural = f"{kind.plural}/{subresource}" if subresource else kind.plural
    return ApiError(409, "Conflict", message, subject=(kind.group, plural), name=name)


def apply_conflict(conflicts: Sequence[tuple[str, str]]) -> ApiError:
    """`conflicts` are pairs of field manager and path."""
    paths: dict[str, list[str]] = {}
    for owner, path in conflicts:
        paths.setdefault(owner, []).append(path)
    said = [
        f"conflict with {owner}: {fields[0]}"
        if len(fields) == 1
        else "\n- ".join([f"conflicts with {owner}:", *fields])
        for owner, fields in paths.items()
    ]
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    causes = [Cause(path, "FieldManagerConflict", f"conflict with {owner}") for owner, path in conflicts]
    return ApiError(409, "Conflict", f"Apply failed with {count}: " + "\n".join(said), causes=causes)


def precondition_failed(kind: Kind, name: str, why: str) -> ApiError:
    """A failed precondition of a deletion."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, subject=(kind.group, kind.name), name=name)


def uid_mismatch(wanted: str, found: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> ApiError:
    said = [f"{cause.field}: {cause.message}" for cause in causes]
    message = f'{kind.qualified} "{name}" is invalid: ' + (said[0] if len(said) == 1 else f"[{', '.join(said)}]")
    return ApiError(422, "Invalid", message, subject=(kind.group, kind.name), name=name, causes=causes)


def invalid_options(options: str, causes: Sequence[Cause]) -> ApiError:
    """Invalid options in the query."""
    return invalid(Kind("meta.k8s.io", "v1", options, ""), "", causes)


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def expired(version: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {version} ({oldest})")


def too_late(continuation: str) -> ApiError:
    """The continue token of a list has expired."""
    message = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list, or "
        "use the continue token in this response to retrieve the remainder as it is now"
    )
    return ApiError(410, "Expired", message, continuation=continuation)


def from_the_future(version: int, present: int) -> ApiError:
    causes = [Cause("", "ResourceVersionTooLarge", "Too large resource version")]
    message = f"Timeout: Too large resource version: {version}, current: {present}"
    return ApiError(504, "Timeout", message, causes=causes, retry_after=1)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)
