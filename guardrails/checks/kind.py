"""Can this change be made to a workload of this kind?"""

from datetime import datetime

from guardrails.types import Denial, Facts, Limits, Verdict
from signals.proposals import PROPOSAL_TYPES
from signals.proposals.kinds import missing_field, why_missing
from signals.reasons import Reason
from signals.types import Proposal


def kind(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects from a change that has no meaning for the kind: a DaemonSet has no number of replicas.

    Closed loop: deny. Direct action: deny. Rules of such a change for such a kind are refused when they are saved, too.
    """
    name, of = "kind", proposal.target.kind
    if field := missing_field(PROPOSAL_TYPES[proposal.type], proposal.params, of):
        details = {"kind": of, "field": field}
        message = f"{proposal.type} does not apply to {proposal.target}: {why_missing(of, field)}"
        return Denial(name, message, details, reason=Reason.UNSUPPORTED_BY_KIND)
    return Verdict(name, details={"kind": of})
