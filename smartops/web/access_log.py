"""One log line for each sign-in, sign-out, failed sign-in, and refused request (401 or 403) of console, admin and API,
and for what Django reports as suspicious, as a host that is not allowed.

A flood of them must not fill the log: beyond its budget a line is counted, and one line a minute says how many there
were. No line has a secret.
"""

import logging
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock, Timer
from time import monotonic
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.decorators import async_only_middleware
from django.utils.encoding import escape_uri_path

from signals import actors
from smartops.edge.proxies import network
from smartops.web.peers import peer_of
from smartops.web.types import GetResponse

log = logging.getLogger(__name__)

WINDOW = 60.0  # seconds
LINES_OF_CLIENT = 10  # for each event, within a window
LINES = 200  # for each event, of all clients: failures hide no success
MAX_CLIENTS = 1000  # that are counted one by one
MAX_PATH = 200


@dataclass(slots=True)
class Window:
    """What was logged and what was left out since `began` (seconds of the monotonic clock)."""

    began: float
    logged: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)  # by event: how often from which client

    def admits(self, event: str, client: str) -> bool:
        if self.logged[event, client] < LINES_OF_CLIENT and self.lines[event] < LINES:
            self.logged[event, client] += 1
            self.lines[event] += 1
            return True
        clients = self.left_out.setdefault(event, Counter())
        clients[client if client in clients or len(clients) < MAX_CLIENTS else "others"] += 1
        return False


_lock = Lock()
_window = Window(0.0)
_summaries: deque[tuple[str, int, str]] = deque(maxlen=100)


def record(event: str, level: int = logging.WARNING, **details: Any) -> bool:
    """Whether it is a line. `details`: peer, and what is known of actor, path, status_code, reason."""
    with _lock:
        if monotonic() - _window.began >= WINDOW:
            _begin()
        was_quiet = not _window.left_out
        if not _window.admits(event, network(details.get("peer", ""))):
            if was_quiet:
                left = Timer(max(0.0, _window.began + WINDOW - monotonic()), summarize)
                left.daemon = True
                left.start()
            return False
    log.log(level, event, extra={name: value for name, value in details.items() if value not in ("", None)})
    return True


def summarize() -> None:
    """Ends the window: one line for each event that was left out."""
    with _lock:
        _begin()


def _begin() -> None:
    global _window
    ended, _window = _window, Window(monotonic())
    for event, clients in ended.left_out.items():
        [(most, count)] = clients.most_common(1)
        message = f"{event}: {clients.total()} more times from {len(clients)} clients, {count} of them from {most}"
        log.warning(message, extra={"count": clients.total()})
        _summaries.append((event, clients.total(), message))


def take_summaries() -> list[tuple[str, int, str]]:
    """Of the windows that have ended since: event, count, and the line."""
    with _lock:
        taken = list(_summaries)
        _summaries.clear()
    return taken


class Suspicious(logging.Handler):
    """For Django's loggers of suspicious requests, which write a traceback for each."""

    def emit(self, line: logging.LogRecord) -> None:
        request, status = getattr(line, "request", None), getattr(line, "status_code", None)
        known = where(request) if isinstance(request, HttpRequest) else {}
        record("suspicious request", status_code=status, reason=line.getMessage()[:MAX_PATH], **known)


@async_only_middleware
def refusals(get_response: GetResponse) -> GetResponse:
    """A signed-in person who is sent to the sign-in page has been refused, too: the account lacks staff status."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        response = await get_response(request)
        user = getattr(request, "_cached_user", None)  # `request.user` would query, if nothing did before
        signed_in = user is not None and user.is_authenticated
        sent_away = response.status_code == 302 and response.headers["Location"].startswith(resolve_url("admin:login"))
        if response.status_code in (401, 403) or (sent_away and signed_in):
            caller = getattr(request, "auth", None)
            actor = getattr(caller, "actor", "") or (actors.user(user.get_username()) if user and signed_in else "")
            status, reason = response.status_code, getattr(response, "refusal", "")
            record("request refused", actor=actor, status_code=status, reason=reason, **where(request))
        return response

    return middleware


def where(request: HttpRequest) -> dict[str, Any]:
    return {"peer": peer_of(request), "path": f"{request.method or ''} {escape_uri_path(request.path)}"[:MAX_PATH]}
