"""The errors of a call to the cluster. Their class says whether a change may have been applied.

Refused     the server refused the request; the change has not been applied
Unreached   no request was sent; the change has not been applied
Unknown     there is no answer that can be trusted; the change may have been applied
"""

# ruff: noqa: N818 - the names are read in `except` clauses, where "Error" adds nothing

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from signals.lib.redaction import redacted


class ClusterError(Exception):
    """`code` is the HTTP status, 0 without an answer. `reason` is one CamelCase word: the server's, or the name of the
    class. `message` is a sentence. `outcome` labels the metrics: refused, unreached or unknown."""

    outcome: ClassVar[str]

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        self.message = redacted(message)  # it is stored, answered, and published on the workload
        super().__init__(self.message)
        self.code = code
        self.reason = reason or type(self).__name__


class Refused(ClusterError):
    """Any 4xx, and a 5xx of the admission. Those that callers handle differently have a class below."""

    outcome = "refused"


class NotFound(Refused):
    """404 from the API server itself: there is no such object."""


class Forbidden(Refused):
    """401 or 403: the credentials, RBAC, or an admission webhook."""


class AdmissionUnavailable(Refused):
    """The admission of the API server failed, for instance because a webhook cannot be called. Admission comes before
    storage. The same request may succeed later."""


class Invalid(Refused):
    """400 or 422: the same request can never succeed."""


class Conflict(Refused):
    """409, or 422 for another uid: the object does not meet the preconditions."""


class Expired(Refused):
    """410: the resourceVersion or the continue token is too old; list again."""


class DisruptionBudget(Refused):
    """429 for an eviction: a PodDisruptionBudget does not allow it now. The message names it and its counts."""


class Throttled(Refused):
    """429. `retry_after` is in seconds, None without a Retry-After header."""

    def __init__(self, message: str, *, code: int = 429, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code=code, reason=reason)
        self.retry_after = retry_after


class Unreached(ClusterError):
    """No connection to the API server, or no usable credentials for it."""

    outcome = "unreached"


class Unknown(ClusterError):
    """Any other 5xx, a broken connection, or an answer that cannot be parsed. A 5xx may have followed a stored change:
    etcd timed out, the conversion of the response failed, or a proxy lost the API server."""

    outcome = "unknown"


class TimedOut(Unknown):
    """No complete answer in time."""


_REFUSALS: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
}

# What the API server says, in its own words, when it could not evaluate a request before storing anything. A webhook
# chooses the code of its denial: with a 5xx, it reports an error of its own.
_ADMISSION_FAILURE = re.compile(
    r"""(Internal\ error\ occurred:\ )*(
        failed\ calling\ (admission\ )?webhook\b | failed\ to\ call\ webhook\b
        | admission\ webhook\ "[^"]*"\ denied\ the\ request\b
        | admission\ plugin\ "[^"]*"\ failed\ to\ complete\b
        | resource\ quota\ evaluation\ timed\ out\b
    )""",
    re.VERBOSE,
)
# 403: the API server has just started, or its caches have.
_NOT_READY = re.compile(r" is forbidden: (not yet ready to handle request|status unknown for quota)\b")


def from_answer(code: int, body: str, headers: Mapping[str, str]) -> ClusterError:
    """The error for an HTTP response that is not a success."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        # A proxy in between, or the API server's overload filter, which answers in plain text.
        status = {"message": f"HTTP {code} {redacted(' '.join(body.split()))[:200]}".strip()}
        if code == 404:  # this says nothing about the object
            return Refused(status["message"], code=code)
    return from_status({**status, "code": code}, headers)


def from_status(status: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ClusterError:
    """The error for a Kubernetes `Status`, from a response or from the ERROR event of a watch."""
    code = status["code"] if isinstance(status.get("code"), int) else 0
    message = str(status.get("message") or f"HTTP {code}")
    reason = str(status.get("reason") or "")
    if code == 429 and (budget := _cause(status, "DisruptionBudget")):
        return DisruptionBudget(f"{message} {budget}", code=code, reason="DisruptionBudget")
    if code == 429:
        retry_after = (headers or {}).get("Retry-After", "")
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return Throttled(message, reason=reason, retry_after=seconds)
    if (code >= 500 and _ADMISSION_FAILURE.match(message)) or (code == 403 and _NOT_READY.search(message)):
        return AdmissionUnavailable(message, code=code, reason=reason)
    if code == 422 and "metadata.uid: " in message:
        # To the API server another uid is a change of an immutable field. To us it is a failed precondition.
        return Conflict(message, code=code, reason=reason)
    if 400 <= code < 500:
        return _REFUSALS.get(code, Refused)(message, code=code, reason=reason)
    return Unknown(message, code=code, reason=reason)


def _cause(status: Mapping[str, Any], reason: str) -> str:
    """The message of the cause `reason` in the Status' details; "" if it is not among them."""
    match status.get("details"):
        case {"causes": [*causes]}:
            named = (cause for cause in causes if isinstance(cause, dict) and cause.get("reason") == reason)
            return next((str(cause.get("message") or reason) for cause in named), "")
    return ""
