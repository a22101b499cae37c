"""May this change be made to any target?"""

from datetime import datetime

from guardrails.types import Denial, Facts, Limits, Verdict
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.types import Proposal


def patch_allowlist(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects what runs code, mounts, or changes the rights of pods: a patch may only change fields on the allowlist.

    Closed loop: deny. Direct action: deny. Rules and requests with such a patch are refused when they are made, too.
    """
    name = "patch_allowlist"
    if refusal := PROPOSAL_TYPES[proposal.type].refusal(proposal.params):
        return Denial(name, f"{refusal}.", reason=Reason.PATCH_FORBIDDEN)
    return Verdict(name)
