"""What is known of a target when a decision is made: within the transaction that holds the workload's lock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guardrails.limits import LONGEST_WINDOW
from guardrails.models import Cooldown, Freeze
from guardrails.policy_client import check_policy
from guardrails.types import Facts, PolicyAnswer, RecentAction, TargetFacts
from orchestrator.k8s.types import Deployment
from orchestrator.models import ACTIVE, Action, Workload
from signals.types import ActionType, Proposal, SignalFacts


@dataclass(frozen=True, slots=True)
class Look:
    """What the deciding process sees of the target in the cluster. The web process sees nothing: UNSEEN."""

    seen: bool
    managed: bool = True
    target: TargetFacts | None = None

    @classmethod
    def at(cls, deployment: Deployment | None) -> "Look":
        if deployment is None:
            return cls(seen=True)
        return cls(seen=True, target=TargetFacts(deployment.uid, deployment.replicas, deployment.deleting))


UNSEEN = Look(seen=False)
UNMANAGED = Look(seen=True, managed=False)


def gather(
    workload: Workload,
    proposal: Proposal,
    look: Look,
    policy: PolicyAnswer | None,
    now: datetime,
    own: Action | None = None,
) -> Facts:
    """`own` is the action that is being planned: it does not stand in its own way."""
    target = workload.target
    active = Action.objects.filter(workload=workload, state__in=ACTIVE)
    if own is not None:
        active = active.exclude(pk=own.pk)
    busy_with = active.values_list("pk", flat=True).first()
    cooldown_until = Cooldown.of(target, proposal.type).values_list("until", flat=True).first()
    return Facts(
        target_seen=look.seen,
        target=look.target,
        managed=look.managed,
        busy_with=str(busy_with or ""),
        cooldown_until=cooldown_until,
        recent=recent_actions(workload, now),
        freezes=Freeze.in_force(target),
        policy=policy,
    )


def recent_actions(workload: Workload, now: datetime) -> tuple[RecentAction, ...]:
    """All that was applied within the longest window, by whomever; dry runs do not count."""
    applied = Action.objects.filter(workload=workload, dry_run=False, applied_at__gt=now - LONGEST_WINDOW)
    rows = applied.order_by("applied_at").values_list("type", "applied_at", "scale_increase")
    return tuple(RecentAction(ActionType(type_), at, increase) for type_, at, increase in rows if at)


def ask_policy(
    proposal: Proposal, requested_by: str, look: Look, signal: SignalFacts | None = None
) -> PolicyAnswer | None:
    """A network call: outside of transactions."""
    context: dict[str, Any] = {"origin": proposal.origin, "requested_by": requested_by, "target": None}
    if look.target is not None:
        context["target"] = {"uid": look.target.uid, "replicas": look.target.replicas}
    return check_policy(proposal, context, signal)
