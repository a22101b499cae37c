"""Has the cluster refused the same change before?"""

from datetime import datetime, timedelta
from typing import Any

from guardrails.checks.answers import governs, no_history
from guardrails.types import Deferral, Facts, Limits, Verdict
from signals.reasons import Reason
from signals.types import Proposal

FIRST_HOLD = timedelta(seconds=30)
MAX_HOLD = timedelta(hours=1)
REFUSAL_WINDOW = timedelta(days=1)  # older refusals are not counted


def recently_refused(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the cluster from a change that it keeps refusing: 30 s after the first refusal of the same change, and
    twice as long after each further one, up to an hour. A change that is applied ends the count.

    Closed loop: defer until the hold ends. Direct action: allow.
    """
    name, refused = "recently_refused", facts.refused
    if not facts.history_loaded:
        return no_history(name)
    if refused is None:
        return Verdict(name)
    hold = min(MAX_HOLD, FIRST_HOLD * 2 ** min(refused.count - 1, 10))
    until = refused.at + hold
    details: dict[str, Any] = {"refusals": refused.count, "last_at": refused.at.isoformat()}
    times = "once" if refused.count == 1 else f"{refused.count} times in a row"
    message = f"The cluster has refused this change of {proposal.target} {times}: {refused.message}"
    if not governs(proposal) or until <= now:
        return Verdict(name, message, details)
    details["next_allowed_at"] = until.isoformat()
    return Deferral(name, message, details, reason=Reason.RECENTLY_REFUSED, until=until)
