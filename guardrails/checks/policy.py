"""Does the policy engine allow it?"""

from datetime import datetime

from guardrails.checks.answers import RECHECK, wait_or_refuse
from guardrails.types import Denial, Facts, Limits, NotEvaluated, Verdict
from signals.reasons import Reason
from signals.types import Proposal


def policy(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Enforces the organization's own policy, if an engine is configured. No usable answer does not allow.

    Closed loop: deny; without an answer, defer and repeat the question. Direct action: deny.
    """
    name, answer = "policy", facts.policy
    if facts.unreadable:
        return NotEvaluated(name, "The policy engine is queried when the namespace can be read.")
    if answer is None:
        return NotEvaluated(name, "No policy engine is configured.")
    details = {"engine": answer.engine}
    if answer.allow is None:
        message = f"The policy engine gave no usable answer: {answer.reason}"
        return wait_or_refuse(name, proposal, Reason.POLICY_UNAVAILABLE, message, details, now + RECHECK)
    if not answer.allow:
        return Denial(name, answer.reason, details, reason=Reason.POLICY_DENIED)
    return Verdict(name, answer.reason, details)
