"""May this change be made to any target?"""

from datetime import datetime

from guardrails.types import Denial, Facts, Limits, Verdict
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.types import Proposal


def patch_allowlist(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects what runs code, mounts, changes the rights of pods, or steers other controllers: a patch may only change
    fields on the allowlist, and containers in their order.

    Closed loop: deny. Direct action: deny. Rules and requests with such a patch are refused when they are made, too.
    The order of the containers is known when the target has been read.
    """
    name, containers = "patch_allowlist", facts.target.containers if facts.target else None
    refusal = PROPOSAL_TYPES[proposal.type].refusal(proposal.params, facts.exemptions.patch_prefixes, containers)
    if refusal:
        return Denial(name, f"{refusal}.", reason=Reason.PATCH_FORBIDDEN)
    return Verdict(name)
