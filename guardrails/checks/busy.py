"""Is another action on the target under way?"""

from datetime import datetime

from guardrails.checks.answers import RECHECK, no_history, wait_or_refuse
from guardrails.types import Facts, Limits, Verdict
from signals.reasons import Reason
from signals.types import Proposal


def one_action_at_a_time(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the verification: with two changes under way, neither could be judged.

    Closed loop: defer until the other action ends. Direct action: deny.
    """
    name = "one_action_at_a_time"
    if not facts.history_loaded:
        return no_history(name)
    if not facts.active_action:
        return Verdict(name)
    message = f"Action {facts.active_action} on {proposal.target} has not finished."
    return wait_or_refuse(name, proposal, Reason.TARGET_BUSY, message, {"action": facts.active_action}, now + RECHECK)
