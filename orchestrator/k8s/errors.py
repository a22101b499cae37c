"""What a call to the cluster can fail with. Whoever writes must know one thing first: can the change have landed?

Refused     the server said no; the change has certainly not been applied
Unreached   nothing was sent; the change has certainly not been applied
Unknown     no answer that could be trusted; the change may have been applied
"""

# ruff: noqa: N818 - they are read in `except` clauses, where "Error" says nothing

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.config import ConfigException
from pydantic import ValidationError
from urllib3 import exceptions as http


class ClusterError(Exception):
    """`code` is the HTTP status, 0 when there was no answer; `reason` one CamelCase word, the server's own where it
    gave one; `message` a sentence."""

    outcome: ClassVar[str]

    def __init__(self, message: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason or type(self).__name__


class Refused(ClusterError):
    """Any 4xx; those that callers tell apart have a class below."""

    outcome = "refused"


class NotFound(Refused):
    """404, said by the API server itself: there is no such object."""


class Forbidden(Refused):
    """401 or 403: our credentials, or RBAC, or an admission webhook."""


class Invalid(Refused):
    """400 or 422: the request can never succeed as it is."""


class Conflict(Refused):
    """409, or another uid: the object is not what the preconditions say."""


class Expired(Refused):
    """410: the resourceVersion or the continue token is too old; list again."""


class DisruptionBudget(Refused):
    """429, said of an eviction: a PodDisruptionBudget does not allow it now. The message says which, and its counts."""


class Throttled(Refused):
    """429. `retry_after` is in seconds, None where the server named no time."""

    def __init__(self, message: str, *, code: int = 429, reason: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code=code, reason=reason)
        self.retry_after = retry_after


class Unreached(ClusterError):
    """No connection to the API server, or no usable credentials for it."""

    outcome = "unreached"


class Unknown(ClusterError):
    """Any 5xx, a cut connection, an answer that cannot be read."""

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


def from_answer(code: int, body: str, headers: Mapping[str, str]) -> ClusterError:
    """The error for an HTTP answer that is not a success."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        # Something between us and the API server, or its own overload filter, which answers in plain text.
        status = {"message": f"HTTP {code} {' '.join(body.split())[:200]}".strip()}
        if code == 404:  # says nothing about the object
            return Refused(status["message"], code=code)
    return from_status({**status, "code": code}, headers)


def from_status(status: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> ClusterError:
    """The error for a Kubernetes `Status`, as answered or as sent in a watch's ERROR event."""
    code = status["code"] if isinstance(status.get("code"), int) else 0
    message = str(status.get("message") or f"HTTP {code}")
    reason = str(status.get("reason") or "")
    if code == 429 and (budget := _cause(status, "DisruptionBudget")):
        return DisruptionBudget(f"{message} {budget}", code=code, reason="DisruptionBudget")
    if code == 429:
        retry_after = (headers or {}).get("Retry-After", "")
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        return Throttled(message, reason=reason, retry_after=seconds)
    if code == 422 and "metadata.uid: " in message:
        # The API server sees another uid as an attempt to edit an immutable field. It is our precondition that failed.
        return Conflict(message, code=code, reason=reason)
    if 400 <= code < 500:
        return _REFUSALS.get(code, Refused)(message, code=code, reason=reason)
    return Unknown(message, code=code, reason=reason)


def _cause(status: Mapping[str, Any], reason: str) -> str:
    """What the server says of the cause `reason` of its answer; empty where it is none."""
    match status.get("details"):
        case {"causes": [*causes]}:
            named = (cause for cause in causes if isinstance(cause, dict) and cause.get("reason") == reason)
            return next((str(cause.get("message") or reason) for cause in named), "")
    return ""


@contextmanager
def translate() -> Iterator[None]:
    """Turns whatever the client library, urllib3, the sockets and the parsing raise into a ClusterError."""
    try:
        yield
    except ApiException as error:
        raise _from_api_exception(error) from error
    except (http.ConnectTimeoutError, http.ProxyError, http.LocationValueError, ConfigException) as error:
        # ConnectTimeoutError is the base of refused connections and of failed name resolution, too.
        raise Unreached(_describe(error)) from error
    except (http.TimeoutError, TimeoutError) as error:
        raise TimedOut(_describe(error)) from error
    except ValidationError as error:
        raise Unknown(f"The client library rejected a value: {_describe(error)}") from error
    except (http.HTTPError, OpenApiException, OSError, ValueError, RecursionError) as error:
        raise Unknown(_describe(error)) from error


def _from_api_exception(error: ApiException) -> ClusterError:
    if error.status:
        return from_answer(error.status, error.body or "", error.headers or {})
    # The client library reports TLS failures as status 0, with the cause as context. A certificate that we do not
    # accept ends the handshake before a request is sent; other TLS errors may come at any time.
    failure = error.__context__.args[0] if isinstance(error.__context__, http.SSLError) else None
    kind = Unreached if isinstance(failure, ssl.SSLCertVerificationError) else Unknown
    return kind(_describe(failure or error))


def _describe(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
