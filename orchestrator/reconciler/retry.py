"""What follows when the cluster did not accept a call: the retry policy as a pure function.

An action that cannot have been applied is planned again. An ambiguous action keeps its plan, and its next attempt
reads the target first. After the last attempt, a read decides: the target still has the version that every attempt
named, so none was applied; or it needs a review.
"""

from dataclasses import dataclass

from orchestrator.k8s import errors
from signals.reasons import Reason

MAX_ATTEMPTS = 10  # claims that the API server answered
MAX_READS = 20  # claims, until a target that cannot be read is left to a person
BASE_DELAY, MAX_DELAY = 0.25, 60.0  # seconds
MAX_RETRY_AFTER = 300.0  # seconds
# Seconds from the last write to the read that decides: the API server has given it up (k8s/client.py).
READ_AFTER = 60.0

# Nothing was stored, and the cause may pass at any time: the deadline of the action ends these retries.
UNCOUNTED = frozenset({Reason.CLUSTER_UNREACHABLE, Reason.CLUSTER_ERROR, Reason.ADMISSION_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in `delay` seconds."""

    reason: Reason
    message: str
    delay: float


@dataclass(frozen=True, slots=True)
class Fail:
    """The change was certainly not applied, and another attempt would not help."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Review:
    """The change may have been applied, and the software cannot find out."""

    message: str


NextMove = Retry | Fail | Review


def next_move(
    error: errors.ClusterError, attempts: int, ambiguous: bool, jitter: float, *, reading: bool = False
) -> NextMove:
    """`attempts`: claims so far. `ambiguous`: an earlier write of the action went unanswered. `jitter`: 0.5 to 1.0.
    `reading`: the call that failed was a read before the write, which says nothing about the write."""
    final = isinstance(error, errors.Refused) and (not reading or isinstance(error, errors.Forbidden | errors.Invalid))
    match error:
        case errors.Throttled():
            reason = Reason.CLUSTER_THROTTLED
        case errors.AdmissionUnavailable():
            reason = Reason.ADMISSION_UNAVAILABLE
        case errors.Conflict() if not reading:
            reason = Reason.CONFLICT
        case _ if final and not ambiguous:
            return Fail(_refusal(error), error.message)
        case _ if final and not reading:
            reason = _refusal(error)
        case _ if error.code:
            reason = Reason.CLUSTER_ERROR
        case _:
            reason = Reason.CLUSTER_UNREACHABLE
    return _retry(reason, error, attempts, ambiguous, jitter)


def _refusal(error: errors.ClusterError) -> Reason:
    """The API server rejected this write for good. That says nothing about an earlier, unanswered copy."""
    match error:
        case errors.NotFound():
            return Reason.TARGET_GONE
        case errors.Forbidden():
            return Reason.CLUSTER_FORBIDDEN
        case _:
            return Reason.CLUSTER_REJECTED


def _retry(reason: Reason, error: errors.ClusterError, attempts: int, ambiguous: bool, jitter: float) -> NextMove:
    """Exponential backoff with jitter. A Retry-After of the server replaces it, up to a bound."""
    if attempts >= MAX_ATTEMPTS and (ambiguous or reason not in UNCOUNTED):
        if ambiguous and attempts < MAX_READS:
            return Retry(reason, error.message, READ_AFTER)
        return exhausted(error.message, attempts, ambiguous)
    delay = min(MAX_DELAY, BASE_DELAY * 2 ** min(attempts, 10)) * jitter
    if isinstance(error, errors.Throttled) and error.retry_after is not None:
        delay = min(error.retry_after, MAX_RETRY_AFTER)
    return Retry(reason, error.message, delay)


def exhausted(message: str, attempts: int, ambiguous: bool) -> Fail | Review:
    """After the last attempt."""
    message = f"The last of {attempts} attempts failed: {message}"
    return Review(message) if ambiguous else Fail(Reason.RETRIES_EXHAUSTED, message)


def unapplied(message: str, attempts: int) -> Fail:
    """After the last attempt, a read shows that the target still has the version that every attempt named."""
    message = f"None of {attempts - 1} attempts was applied, as the target has not changed. The last one: {message}"
    return Fail(Reason.RETRIES_EXHAUSTED, message)
