"""Are the replicas of the last SCALE available?"""

from datetime import datetime
from typing import Any

from guardrails.checks.answers import RECHECK, governs, no_history, no_target
from guardrails.types import Deferral, Facts, Limits, Verdict
from signals.proposals import scale_increase, sets_replicas
from signals.reasons import Reason
from signals.types import Proposal


def missing_replicas(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against adding replicas that the cluster cannot run, in addition to those that are missing already: a
    quota, a full node, a broken image. Replicas that were available once and are missing now do not count.

    Closed loop: defer until they are available. Direct action: allow.
    """
    name, target, wanted = "missing_replicas", facts.target, facts.scaled_to
    if not facts.history_loaded:
        return no_history(name)
    if not sets_replicas(proposal):
        return Verdict(name)
    if target is None:
        return no_target(name, proposal, facts)
    if wanted is None or not scale_increase(proposal, target.replicas):
        return Verdict(name)
    wanted = min(wanted, target.replicas)
    details: dict[str, Any] = {"available": target.available, "wanted": wanted}
    if not governs(proposal) or target.available >= wanted:
        return Verdict(name, details=details)
    missing = wanted - target.available
    message = f"{missing} of the {wanted} replicas of {proposal.target} are not available since SmartOps added replicas"
    message += f": {target.obstacle}" if target.obstacle else "."
    return Deferral(name, message, details, reason=Reason.REPLICAS_MISSING, until=now + RECHECK)
