"""Does the change lead to too many replicas?"""

from datetime import datetime

from guardrails.checks.answers import no_target
from guardrails.types import Denial, Facts, Limits, Verdict
from signals.proposals import PROPOSAL_TYPES, desired_replicas
from signals.proposals.paths import REPLICAS
from signals.reasons import Reason
from signals.types import Proposal


def max_replicas(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the capacity of the cluster: no change leads above `max_replicas`, nor below 0.

    Closed loop: deny. Direct action: deny.
    """
    name = "max_replicas"
    current = facts.target.replicas if facts.target else None
    value = desired_replicas(proposal, current)
    details = {"value": value, "limit": limits.max_replicas, "current": current}
    if value is None:
        unknown = current is None and sets_replicas(proposal)
        return no_target(name, proposal, facts, details) if unknown else Verdict(name, details=details)
    if value > limits.max_replicas:
        message = f"{value} replicas would exceed the limit of {limits.max_replicas} for {proposal.target}."
        return Denial(name, message, details, reason=Reason.REPLICA_LIMIT)
    if value < 0:
        message = f"{value} replicas: {proposal.target} has too few for this change."
        return Denial(name, message, {**details, "limit": 0}, reason=Reason.REPLICA_LIMIT)
    return Verdict(name, details=details)


def sets_replicas(proposal: Proposal) -> bool:
    return REPLICAS in PROPOSAL_TYPES[proposal.type].fields(proposal.params)
