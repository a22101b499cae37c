"""The faults that a test can inject; a closed list."""

import re
from dataclasses import dataclass, fields
from typing import Any

from smartops.dev.sandbox.access import Access
from smartops.dev.sandbox.errors import REASONS, ApiError, bad_request


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReason:
    """Raises ValueError for invalid arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike(RequestReason):
    """Affects the next `count` requests that match. `method` is an HTTP method or WATCH, empty for any; `path` is a
    regular expression that is searched in the path."""

    method: str = ""
    path: str = ""
    count: int = 1

    def __post_init__(self) -> None:
        re.compile(self.path)
        if self.count < 1:
            raise ValueError("count: at least 1")

    def matches(self, method: str, path: str) -> bool:
        return self.method in ("", method) and re.search(self.path, path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Strike):
    """The request is not applied. The response is this status, with Retry-After (seconds) if it is not 0, and with
    this message if there is one."""

    status: int
    retry_after: int = 0
    message: str = ""

    def __post_init__(self) -> None:
        Strike.__post_init__(self)
        if self.status not in REASONS:
            raise ValueError(f"status: one of {', '.join(map(str, REASONS))}")

    def error(self) -> ApiError:
        message = self.message or f"the sandbox was asked to refuse this request with {self.status}"
        return ApiError(self.status, REASONS[self.status], message, retry_after=self.retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay(Strike):
    """The request is applied after `seconds`, even if the client has disconnected."""

    seconds: float

    def __post_init__(self) -> None:
        Strike.__post_init__(self)
        if self.seconds < 0:
            raise ValueError("seconds: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Strike):
    """The request is neither applied nor answered, as long as the client waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer(Strike):
    """The request is applied, then the connection is closed; with `hang` it stays open without a response."""

    hang: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CutWatch(Strike):
    """Closes the connections of watches: the open ones, then new ones until `count` is used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteWatch(Strike):
    """Makes watches half-open, chosen as by CutWatch: nothing more is sent, neither a bookmark nor an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactHistory(RequestReason):
    """Immediately: every version that was read so far is too old for a watch (410)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbid(RequestReason):
    """Until the faults are cleared, matching requests get 403 and access reviews `allowed: false`. `resource` is
    written as in a Role (`deployments/scale`). An empty verb matches any verb, an empty namespace any namespace."""

    verb: str = ""
    group: str = ""
    resource: str
    namespace: str = ""

    def covers(self, access: Access) -> bool:
        exact = (self.group, self.resource) == (access.group, access.resource)
        return exact and self.verb in ("", access.verb) and self.namespace in ("", access.namespace)


KINDS: dict[str, type[RequestReason]] = {
    kind.__name__: kind for kind in (Refuse, Delay, Hang, LoseAnswer, CutWatch, MuteWatch, CompactHistory, Forbid)
}


def from_json(document: object) -> RequestReason:
    """`{"kind": "Refuse", "method": "PATCH", "path": "/deployments/", "count": 2, "status": 409}`; raises 400."""
    if not isinstance(document, dict):
        raise bad_request("a fault is a map")
    given: dict[str, Any] = dict(document)
    kind = KINDS.get(str(given.pop("kind", "")))
    if kind is None:
        raise bad_request(f"kind: one of {', '.join(KINDS)}")
    known = {field.name: field.type for field in fields(kind)}
    if unknown := given.keys() - known.keys():
        raise bad_request(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    for name, value in given.items():
        if not isinstance(value, known[name] if known[name] is not float else (int, float)):  # type: ignore[arg-type]
            raise bad_request(f"{name}: not a {known[name]}")
    try:
        return kind(**given)
    except (TypeError, ValueError, re.error) as error:
        raise bad_request(str(error)) from error


class Faults:
    """The active faults, in the order of their injection."""

    def __init__(self) -> None:
        self._left: list[tuple[Strike, int]] = []
        self._forbidden: list[Forbid] = []

    def add(self, fault: Strike | Forbid) -> None:
        if isinstance(fault, Forbid):
            self._forbidden.append(fault)
        else:
            self._left.append((fault, fault.count))

    def clear(self) -> None:
        self._left.clear()
        self._forbidden.clear()

    def forbids(self, access: Access) -> bool:
        return any(fault.covers(access) for fault in self._forbidden)

    def take(self, kinds: tuple[type[Strike], ...], method: str, path: str) -> Strike | None:
        """The first fault that matches; its count is reduced by one."""
        for index, (fault, left) in enumerate(self._left):
            if isinstance(fault, kinds) and fault.matches(method, path):
                self._left[index : index + 1] = [(fault, left - 1)] if left > 1 else []
                return fault
        return None
