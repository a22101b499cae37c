"""Is the signal still true?"""

from datetime import datetime, timedelta

from guardrails.types import Denial, Facts, Limits, RolloutState, Verdict
from signals.reasons import Reason
from signals.types import SignalFacts


def freshness(signal: SignalFacts, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against acting on a problem that is over, or that its source has not reported for `signal_ttl_seconds`.
    The time during which it waits for a rollout does not count.

    Closed loop: deny. Direct action: not evaluated, as it has no signal.
    """
    name, limit = "signal", limits.signal_ttl_seconds
    if signal.resolved:
        return Denial(name, "The source reports that the problem is over.", reason=Reason.SIGNAL_RESOLVED)
    waited = _during_rollout(facts, signal.last_seen_at, now)
    age = round((now - signal.last_seen_at - waited).total_seconds(), 1)
    details = {"age_seconds": age, "limit_seconds": limit}
    if waited:
        details["rollout_seconds"] = round(waited.total_seconds(), 1)
    if age > limit:
        message = f"The signal was last reported {age:.0f} s ago, which is more than {limit} s."
        return Denial(name, message, details, reason=Reason.SIGNAL_EXPIRED)
    return Verdict(name, details=details)


def _during_rollout(facts: Facts, seen: datetime, now: datetime) -> timedelta:
    """How much of the time since the last report the latest rollout of the target took."""
    if facts.target is None:
        return timedelta(0)
    rollout = facts.target.rollout
    is_over = rollout.state is not RolloutState.IN_PROGRESS
    if is_over and (rollout.since is None or rollout.until is None):
        return timedelta(0)
    began = seen if rollout.since is None else max(seen, rollout.since)
    ended = now if rollout.until is None else min(now, rollout.until)
    return max(timedelta(0), ended - began)
