"""Is the signal still true?"""

from datetime import datetime

from guardrails.types import Denial, Limits, Verdict
from signals.reasons import Reason
from signals.types import SignalFacts


def freshness(signal: SignalFacts, limits: Limits, now: datetime) -> Verdict:
    """Protects against acting on a problem that is over, or that its source has not reported for `signal_ttl_seconds`.

    Closed loop: deny. Direct action: not evaluated, as it has no signal.
    """
    name, limit = "signal", limits.signal_ttl_seconds
    if signal.resolved:
        return Denial(name, "The source reports that the problem is over.", reason=Reason.SIGNAL_RESOLVED)
    age = round((now - signal.last_seen_at).total_seconds(), 1)
    details = {"age_seconds": age, "limit_seconds": limit}
    if age > limit:
        message = f"The signal was last reported {age:.0f} s ago, which is more than {limit} s."
        return Denial(name, message, details, reason=Reason.SIGNAL_EXPIRED)
    return Verdict(name, details=details)
