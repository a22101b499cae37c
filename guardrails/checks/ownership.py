"""Guardrails about others who write the same workload: an autoscaler, GitOps, an operator, whoever paused it. Pure."""

from datetime import datetime
from typing import Any

from guardrails.checks.limits import RECHECK, desired_replicas, wait_or_refuse
from guardrails.types import Facts, FieldOwner, Limits, OwnerKind, Verdict
from signals.reasons import Reason
from signals.types import ActionType, Proposal

# What each does about a change of a field that it states; Helm only when somebody upgrades the release.
IN_GIT = "change it in Git, or leave the field out there"
INSTEAD = {
    OwnerKind.ARGO_CD: IN_GIT,
    OwnerKind.FLUX: IN_GIT,
    OwnerKind.CONTROLLER: "change it there",
}


def paused(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, target = "paused", facts.target
    if target is None or not target.paused or not _waits_for_pods(proposal):
        return Verdict(name)
    message = f"{proposal.target} is paused, so its pods would not change: kubectl rollout resume it first."
    return wait_or_refuse(name, proposal, Reason.TARGET_PAUSED, message, {}, now + RECHECK)


def autoscaler(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Whoever sets the replicas of a workload that is scaled by another is undone within seconds."""
    name, target = "autoscaler", facts.target
    if target is None or desired_replicas(proposal, target.replicas) is None:
        return Verdict(name)
    one, until = target.autoscaler, now + RECHECK
    if one is None and not target.autoscalers_unknown:
        return Verdict(name)
    details: dict[str, Any] = {}
    if one is not None:
        details = {"autoscaler": one.name, "min_replicas": one.min_replicas, "max_replicas": one.max_replicas}
    if not limits.respect_owners:
        return Verdict(name, message="Not respected, as set.", details=details)
    if one is None:
        message = f"Whether an autoscaler owns the replicas cannot be seen: {target.autoscalers_unknown}"
        return wait_or_refuse(name, proposal, Reason.AUTOSCALERS_UNKNOWN, message, details, until)
    if target.replicas == 0 < one.min_replicas:
        message = f"HorizontalPodAutoscaler {one.name} rests while there are no replicas, and sets them from then on."
        return Verdict(name, message=message, details=details)
    message = (
        f"HorizontalPodAutoscaler {one.name} sets the replicas of {proposal.target}, from {one.min_replicas} to "
        f"{one.max_replicas}: change its minReplicas or maxReplicas instead."
    )
    return wait_or_refuse(name, proposal, Reason.AUTOSCALED, message, details, until)


def field_owners(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """What GitOps or an operator states, it sets again: the change would not last, and the two would fight."""
    name, owners = "field_owners", facts.target.owners if facts.target else ()
    details: dict[str, Any] = {"owners": {str(owner): list(owner.fields) for owner in owners}} if owners else {}
    reverting = [owner for owner in owners if owner.kind in INSTEAD]
    if not reverting:
        later = "; ".join(f"the next upgrade of {owner} sets {_fields(owner)} back" for owner in owners)
        return Verdict(name, message=later and f"Allowed, but {later}.", details=details)
    if not limits.respect_owners:
        return Verdict(name, message="Not respected, as set.", details=details)
    message = " ".join(f"{one} would set {_fields(one)} back: {INSTEAD[one.kind]}." for one in reverting)
    return wait_or_refuse(name, proposal, Reason.FIELD_OWNED, message, details, now + RECHECK)


def _waits_for_pods(proposal: Proposal) -> bool:
    """A paused Deployment is scaled all the same; and a patch may resume it."""
    if proposal.type is not ActionType.PATCH:
        return proposal.type is ActionType.RESTART
    spec = proposal.params["patch"].get("spec") or {}
    return "template" in spec and spec.get("paused", True) is True


def _fields(owner: FieldOwner) -> str:
    first, *more = owner.fields
    return f"{first} and {len(more)} more" if more else first
