"""Has somebody frozen the target?"""

from datetime import datetime

from guardrails.checks.answers import RECHECK, no_history, wait_or_refuse
from guardrails.types import Facts, Limits, Verdict
from signals.figures import second_after
from signals.reasons import Reason
from signals.types import Proposal


def freeze(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects a scope in which a person wants no change: an incident, a release, the end of a quarter.

    Closed loop: defer until the freeze ends. Direct action: deny.
    """
    name = "freeze"
    if not facts.history_loaded:
        return no_history(name)
    if not facts.freezes:
        return Verdict(name)
    worst = max(facts.freezes, key=lambda fact: fact.until.timestamp() if fact.until else float("inf"))
    ends = f"until {second_after(worst.until):%Y-%m-%d %H:%M:%S} UTC" if worst.until else "until it is lifted"
    message = f"{worst.by} froze {worst.scope} {ends}: {worst.reason}"
    details = {"scope": worst.scope, "by": worst.by, "until": worst.until and worst.until.isoformat()}
    return wait_or_refuse(name, proposal, Reason.FROZEN, message, details, worst.until or now + RECHECK)
