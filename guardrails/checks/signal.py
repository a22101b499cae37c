"""Is the signal still true?"""

from datetime import datetime, timedelta

from guardrails.types import Denial, Facts, Limits, RolloutState, Verdict
from signals.figures import rounded_down, rounded_up
from signals.reasons import Reason
from signals.types import SignalFacts


def freshness(signal: SignalFacts, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against acting on a problem that is over, or that its source has not reported for `signal_ttl_seconds`.
    The time in which it waits for a rollout, or for SmartOps itself, does not count.

    Closed loop: deny. Direct action: not evaluated, as it has no signal.
    """
    name, limit = "signal", limits.signal_ttl_seconds
    if signal.resolved:
        return Denial(name, "The source reports that the problem is over.", reason=Reason.SIGNAL_RESOLVED)
    due_at = now if signal.due_at is None else min(now, max(signal.due_at, signal.last_seen_at))
    kept = timedelta(seconds=signal.kept_seconds) + (now - due_at)
    waited = _during_rollout(facts, signal.last_seen_at, due_at)
    age = now - signal.last_seen_at - waited - kept
    is_over, seconds = age > timedelta(seconds=limit), age.total_seconds()
    details = {"age_seconds": (rounded_up if is_over else rounded_down)(seconds, 1), "limit_seconds": limit}
    if kept:
        details["kept_seconds"] = round(kept.total_seconds(), 1)
    if waited:
        details["rollout_seconds"] = round(waited.total_seconds(), 1)
    if is_over:
        why = f", and was deferred ({signal.deferred_for})" if signal.deferred_for else ""
        own = f", not counting {kept.total_seconds():.0f} s in which it waited for SmartOps"
        own = own if kept >= timedelta(seconds=1) else ""
        message = f"The signal was last reported {rounded_up(seconds)} s ago{own}, which is more than {limit} s{why}."
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
