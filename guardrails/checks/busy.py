"""Is another action on the target under way?"""

from datetime import datetime

from guardrails.checks.answers import RECHECK, no_history, wait_or_refuse
from guardrails.types import Facts, Limits, Verdict
from signals.reasons import Reason
from signals.types import Proposal


def one_action_at_a_time(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the verification: with two changes under way, neither could be judged. A dry run changes nothing.

    Closed loop: defer until the other action ends. Direct action: deny; it takes the place of an action that waits
    (orchestrator/decide/direct.py), which is not active for it then.
    """
    name = "one_action_at_a_time"
    if not facts.history_loaded:
        return no_history(name)
    if not facts.active_action:
        return Verdict(name)
    if proposal.dry_run:
        return Verdict(name, "Another action is active. A dry run changes nothing.", {"action": facts.active_action})
    message = f"Action {facts.active_action} on {proposal.target} has not finished. {facts.active_waits}".strip()
    return wait_or_refuse(name, proposal, Reason.TARGET_BUSY, message, {"action": facts.active_action}, now + RECHECK)
