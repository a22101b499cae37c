"""How much is accepted: the limits of a token, and the length of the queue."""

from time import monotonic

from django.conf import settings
from django.db import connection

from signals import queries
from signals.allowance import Exceeded
from signals.models import Signal
from smartops.api.problems import ProblemDetails, RequestReason

COUNTED_FOR = 1.0  # seconds: in this time, the queue may become longer than its limit
PAUSE = 5  # seconds

_counted = (0.0, 0)  # until when the count of waiting signals holds, and the count


def exceeded(token: str, why: Exceeded) -> ProblemDetails:
    """429 for an observation beyond a limit of its token."""
    if why.rate:
        reason = RequestReason.SIGNAL_RATE_EXCEEDED
        detail = f"The token “{token}” may post {why.limit} signals per minute. Repeat the post in {why.retry_after} s."
    else:
        reason = RequestReason.TOO_MANY_WAITING_SIGNALS
        detail = f"{why.limit} signals of the token “{token}” wait, which is its limit. Repeat the post later."
    details = {"limit": why.limit, "retry_after_seconds": why.retry_after}
    if why.rate:
        details["window_seconds"] = 60
    return _later(ProblemDetails(429, reason, detail, details=details), why.retry_after)


def forget_count() -> None:
    """Makes this process count the queue at the next post."""
    global _counted
    _counted = (0.0, 0)


def require_room() -> None:
    """Raises ProblemDetails (503) while the queue is full."""
    limit, waiting = settings.SMARTOPS_QUEUE_LIMIT, _waiting()
    if waiting >= limit:
        detail = f"At least {limit} signals wait for a decision. Check that a reconciler runs for each cluster."
        details = {"limit": limit, "retry_after_seconds": PAUSE}
        raise _later(ProblemDetails(503, RequestReason.QUEUE_FULL, detail, details=details), PAUSE)


def _waiting() -> int:
    global _counted
    until, waiting = _counted
    if until <= monotonic():
        with connection.cursor() as cursor:
            limit = settings.SMARTOPS_QUEUE_LIMIT
            cursor.execute(queries.QUEUE_LENGTH, {"limit": limit, "first": Signal.first_pending()})
            [waiting] = cursor.fetchone()
        _counted = (monotonic() + COUNTED_FOR, waiting)
    return waiting


def _later(problem: ProblemDetails, seconds: int) -> ProblemDetails:
    problem.headers["Retry-After"] = str(seconds)
    return problem
