"""Does the change lead to too many or too few replicas, or in the wrong direction?"""

from datetime import datetime

from guardrails.checks.answers import no_target
from guardrails.types import Denial, Facts, Limits, Verdict
from signals.proposals import PROPOSAL_TYPES, desired_replicas, sets_replicas
from signals.proposals.direction import direction_of
from signals.proposals.paths import REPLICAS
from signals.reasons import Reason
from signals.types import Origin, Proposal


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


def min_replicas(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the redundancy of a workload: the closed loop does not scale it down below `min_replicas`. A
    change that adds replicas passes, even if the result is below the limit.

    Closed loop: deny. Direct action: allow.
    """
    name = "min_replicas"
    current = facts.target.replicas if facts.target else None
    value = desired_replicas(proposal, current)
    details = {"replicas": value, "minimum": limits.min_replicas, "current": current}
    if sets_replicas(proposal) and current is None:
        return no_target(name, proposal, facts, details)
    kept = None if value is None or current is None else min(limits.min_replicas, current)
    if proposal.origin is not Origin.CLOSED_LOOP or value is None or kept is None or value >= kept:
        return Verdict(name, details=details)
    message = f"{value} replicas would be below the minimum of {limits.min_replicas} for {proposal.target}."
    return Denial(name, message, details, reason=Reason.REPLICA_LIMIT)


def scale_direction(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects a workload that has changed since a rule with an absolute number of replicas was written: a number that
    was meant to add replicas removes none, and is no remedy where it changes nothing. The rule's `direction` is up
    unless it says down or any.

    Closed loop: deny. Direct action: allow.
    """
    name = "scale_direction"
    desired = desired_replicas(proposal, None)  # None: it is relative, or leaves the replicas alone
    if proposal.origin is not Origin.CLOSED_LOOP or desired is None:
        return Verdict(name)
    if facts.target is None:
        return no_target(name, proposal, facts)
    current, direction = facts.target.replicas, direction_of(proposal.params)
    details = {"replicas": desired, "current": current, "direction": direction}
    if desired == current and PROPOSAL_TYPES[proposal.type].fields(proposal.params) == (REPLICAS,):
        message = f"{proposal.target} already has {current} replicas: the rule would change nothing."
    elif desired == current or direction.permits(current, desired):
        return Verdict(name, details=details)
    else:
        message = (
            f"{proposal.target} has {current} replicas. The rule sets {desired}, and its direction is {direction}."
        )
    return Denial(name, message, details, reason=Reason.WRONG_DIRECTION)
