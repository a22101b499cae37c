"""What follows when the cluster did not accept a call: the retry policy as a pure function.

An action that cannot have been applied is planned again. An ambiguous action keeps its plan, and its next attempt
reads the target first. If no attempt can determine whether it was applied, it needs a review.
"""

from dataclasses import dataclass

from orchestrator.k8s import errors
from signals.reasons import Reason

MAX_ATTEMPTS = 10  # claims that the API server answered
BASE_DELAY, MAX_DELAY = 0.25, 60.0  # seconds
MAX_RETRY_AFTER = 300.0  # seconds


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
    match error:
        case errors.Throttled():
            return _retry(Reason.CLUSTER_THROTTLED, error, attempts, ambiguous, jitter)
        case errors.Conflict() if not reading:
            return _retry(Reason.CONFLICT, error, attempts, ambiguous, jitter)
        case errors.Forbidden() | errors.Invalid() if reading and not ambiguous:
            return _refused(error, ambiguous)
        case errors.Refused() if not reading:
            return _refused(error, ambiguous)
        case _:
            return _retry(Reason.CLUSTER_UNREACHABLE, error, attempts, ambiguous, jitter)


def _refused(error: errors.Refused, ambiguous: bool) -> NextMove:
    """The API server rejected this write for good. That says nothing about an earlier, unanswered copy."""
    if ambiguous:
        return Review(f"An attempt was not answered, and the next one was rejected: {error.message}")
    match error:
        case errors.NotFound():
            return Fail(Reason.TARGET_GONE, error.message)
        case errors.Forbidden():
            return Fail(Reason.CLUSTER_FORBIDDEN, error.message)
        case _:
            return Fail(Reason.CLUSTER_REJECTED, error.message)


def _retry(reason: Reason, error: errors.ClusterError, attempts: int, ambiguous: bool, jitter: float) -> NextMove:
    """Exponential backoff with jitter. A Retry-After of the server replaces it, up to a bound."""
    # An unreachable cluster counts no attempts: the deadline of the action ends the retries.
    counts = reason is not Reason.CLUSTER_UNREACHABLE or ambiguous
    if counts and attempts >= MAX_ATTEMPTS:
        return exhausted(error.message, attempts, ambiguous)
    delay = min(MAX_DELAY, BASE_DELAY * 2 ** min(attempts, 10)) * jitter
    if isinstance(error, errors.Throttled) and error.retry_after is not None:
        delay = min(error.retry_after, MAX_RETRY_AFTER)
    return Retry(reason, error.message, delay)


def exhausted(message: str, attempts: int, ambiguous: bool) -> Fail | Review:
    """After the last attempt."""
    message = f"The last of {attempts} attempts failed: {message}"
    return Review(message) if ambiguous else Fail(Reason.RETRIES_EXHAUSTED, message)
