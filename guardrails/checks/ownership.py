"""Does somebody else write the same fields: an autoscaler, GitOps, an operator, or the person who paused it?"""

from datetime import datetime
from typing import Any

from guardrails.checks.answers import RECHECK, no_target, wait_or_refuse
from guardrails.types import Facts, FieldOwner, Limits, OwnerKind, Verdict
from signals.proposals import PROPOSAL_TYPES, sets_replicas
from signals.reasons import Reason
from signals.types import Proposal

# What each does about a change of a field that it states; Helm only when somebody upgrades the release.
IN_GIT = "change it in Git, or leave the field out there"
INSTEAD = {
    OwnerKind.ARGO_CD: IN_GIT,
    OwnerKind.FLUX: IN_GIT,
    OwnerKind.CONTROLLER: "change it there",
}


def paused(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects a workload whose controller replaces no pods from a change of its pod template, which would reach none:
    a paused Deployment, the update strategy OnDelete, and a StatefulSet whose partition holds all of its pods.

    Closed loop: defer. Direct action: deny.
    """
    name, target = "paused", facts.target
    if not PROPOSAL_TYPES[proposal.type].waits_for_pods(proposal.params):
        return Verdict(name)
    if target is None:
        return no_target(name, proposal, facts)
    if target.paused:
        message = f"{proposal.target} is paused, so its pods would not change: run kubectl rollout resume first."
        return wait_or_refuse(name, proposal, Reason.TARGET_PAUSED, message, {}, now + RECHECK)
    if target.held:
        message = f"The pods of {proposal.target} would not change: {target.held}. Change its updateStrategy first."
        return wait_or_refuse(name, proposal, Reason.ROLLOUT_HELD, message, {}, now + RECHECK)
    return Verdict(name)


def autoscaler(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects replicas that an autoscaler sets: it would undo the change within seconds.
    `respect_owners: false` turns it off.

    Closed loop: defer. Direct action: deny.
    """
    name, target = "autoscaler", facts.target
    if not sets_replicas(proposal):
        return Verdict(name)
    if target is None:
        return no_target(name, proposal, facts)
    one, until = target.autoscaler, now + RECHECK
    if one is None and not target.autoscalers_unknown:
        return Verdict(name)
    details: dict[str, Any] = {}
    if one is not None:
        details = {"autoscaler": one.name, "min_replicas": one.min_replicas, "max_replicas": one.max_replicas}
    if not limits.respect_owners:
        return Verdict(name, "Allowed, as respect_owners is false.", details)
    if one is None:
        message = f"It is unknown whether an autoscaler sets the replicas: {target.autoscalers_unknown}"
        return wait_or_refuse(name, proposal, Reason.AUTOSCALERS_UNKNOWN, message, details, until)
    if target.replicas == 0 < one.min_replicas:
        message = f"HorizontalPodAutoscaler {one.name} rests while there are no replicas, and sets them from then on."
        return Verdict(name, message, details)
    message = (
        f"HorizontalPodAutoscaler {one.name} sets the replicas of {proposal.target}, from {one.min_replicas} to "
        f"{one.max_replicas}: change its minReplicas or maxReplicas instead."
    )
    return wait_or_refuse(name, proposal, Reason.AUTOSCALED, message, details, until)


def field_owners(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects fields that GitOps or an operator states: it would set them back, and the two would fight.
    `respect_owners: false` turns it off.

    Closed loop: defer. Direct action: deny.
    """
    name = "field_owners"
    if facts.target is None:
        return no_target(name, proposal, facts)
    owners = facts.target.owners
    details: dict[str, Any] = {"owners": {str(owner): list(owner.fields) for owner in owners}} if owners else {}
    reverting = [owner for owner in owners if owner.kind in INSTEAD]
    if not reverting:
        later = "; ".join(f"the next upgrade of {owner} sets {_fields(owner)} back" for owner in owners)
        return Verdict(name, later and f"Allowed, but {later}.", details)
    if not limits.respect_owners:
        return Verdict(name, "Allowed, as respect_owners is false.", details)
    message = " ".join(f"{one} would set {_fields(one)} back: {INSTEAD[one.kind]}." for one in reverting)
    return wait_or_refuse(name, proposal, Reason.FIELD_OWNED, message, details, now + RECHECK)


def _fields(owner: FieldOwner) -> str:
    first, *more = owner.fields
    return f"{first} and {len(more)} more" if more else first
