"""What persons are shown when they are asked to approve an action, and which of their approvals hold."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from django.contrib.auth import get_user_model

from guardrails.models import LIMIT_FIELDS
from guardrails.types import ApprovalFacts, Limits
from orchestrator.actions import HANDLERS
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, Vote, transitions
from signals import actors
from signals.actors import ActorKind
from signals.proposals import scale_decrease, scale_increase
from signals.types import Target

Shown = Mapping[str, Any]
"""What an approval is about, as JSON: `uid` and `generation` of the target, `change`, `before` and `after` (as the
images of Action), `rule` and `rule_version` (null without one), and `limits`: the effective ones by name."""

RIGHT = "smartops.approve"  # as smartops/people has it
OF_PLAN = {"uid": "planned_uid", "generation": "planned_generation", "change": "change"}
IMAGES = {"before": "before_image", "after": "after_image"}


def shown(plan: Mapping[str, Any], rule: str, rule_version: int | None, limits: Limits) -> dict[str, Any]:
    """`plan`: the columns of an Action that a plan sets. The status of the target is no part of it."""
    return {
        **{name: plan[column] for name, column in (OF_PLAN | IMAGES).items()},
        "rule": rule or None,
        "rule_version": rule_version,
        "limits": {name: getattr(limits, name) for name in LIMIT_FIELDS},
    }


def plan_columns(action: Action, live: WorkloadObject, warnings: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The columns of an Action that a plan for this version of the target sets. `warnings`: as in Action."""
    proposal = action.proposal
    return transitions.plan_columns(
        action,
        live,
        HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk)),
        scale_increase(proposal, live.replicas),
        scale_decrease=scale_decrease(proposal, live.replicas),
        warnings=warnings,
    )


def required(action: Action) -> int:
    """How many persons have to approve what is shown."""
    return int((action.shown or {}).get("limits", {}).get("approvals_required", 1))


def digest_of_shown(of: Shown) -> str:
    return sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()


def difference(before: Shown | None, after: Shown) -> list[dict[str, Any]]:
    """What has changed since persons were asked: `[{"what": str, "before": …, "after": …}]`, where `what` is a field of
    the target, a limit, or one of the other names of Shown."""
    if before is None:
        return []
    names = ("uid", "generation", "change", "rule", "rule_version")
    found = [(what, before.get(what), after.get(what)) for what in names]
    for image in IMAGES:
        mine, other = before.get(image) or {}, after.get(image) or {}
        found += [(f"{image} {path}", mine.get(path), other.get(path)) for path in {**mine, **other}]
    limits, others = before.get("limits", {}), after.get("limits", {})
    found += [(name, limits.get(name), others.get(name)) for name in {**limits, **others}]
    return [{"what": what, "before": was, "after": now} for what, was, now in found if was != now]


def rule_of(requested_by: str) -> str:
    """The name of the rule that requested an action; empty if none did."""
    kind, name = actors.parse(requested_by) if requested_by else (None, "")
    return name if kind is ActorKind.RULE else ""


def approving(votes: Iterable[Sequence[str]], wanted: str) -> list[str]:
    """Who approves what was shown with this digest, by the last decision of each person: (by, decision, digest)."""
    return sorted(by for by, decision, given in votes if decision == Vote.APPROVE and given == wanted)


def approval_facts(action: Action, votes: Iterable[Sequence[str]], now: Shown) -> ApprovalFacts:
    """Who has approved the action and still may, and whether it would do what they were shown."""
    by = approving(votes, action.digest)
    target = action.workload.target
    holding = [one for one in by if has_right(one, target)]
    lost = tuple(one for one in by if one not in holding)
    return ApprovalFacts(action.digest, digest_of_shown(now), tuple(holding), lost)


def has_right(by: str, target: Target) -> bool:
    """Whether the account exists, is active, and has the right to approve changes of the target."""
    kind, name = actors.parse(by)
    if kind is not ActorKind.USER:
        return False
    user: Any = get_user_model().objects.only("username", "is_active", "is_superuser").filter(username=name).first()
    return user is not None and bool(user.has_perm(RIGHT, target))
