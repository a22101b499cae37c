"""What is allowed, as the API tells it: limits and where each comes from, freezes, cooldowns, and what is used up.

The numbers are those of the guardrails themselves, asked as if the closed loop wanted to act now."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from guardrails.checks.windows import actions_per_hour, cooldown, increases_in_window
from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze, effective_limits
from guardrails.types import Facts, Limits, RecentAction
from signals.types import ActionType, Origin, Proposal, Target


class Limit(BaseModel):
    value: bool | int
    source: str = Field(description="default, or the scope whose setting it is.")


class FreezeView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    scope: str
    reason: str
    by: str
    until: datetime | None


class Usage(BaseModel):
    """What the closed loop has used up of a workload's limits, for one type of action. Times: null where it is free."""

    actions_this_hour: int
    actions_limit: int
    next_allowed_at: datetime | None
    cooldown_until: datetime | None
    scale_increase: int = Field(description="Replicas added within 15 minutes, by actions of all types together.")
    scale_increase_limit: int


class GuardrailsView(BaseModel):
    """Of a workload, of a namespace, or of everything. `usage` is null unless a workload is asked for."""

    cluster: str
    namespace: str | None
    workload: str | None
    limits: dict[str, Limit]
    freezes: list[FreezeView]
    usage: dict[ActionType, Usage] | None


def describe(target: Target, recent: Sequence[RecentAction], now: datetime) -> GuardrailsView:
    """`target` without a name is a namespace, without a namespace everything. `recent` are its applied actions."""
    limits = effective_limits(target)
    return GuardrailsView(
        cluster=target.cluster,
        namespace=target.namespace or None,
        workload=target.name or None,
        limits={name: Limit(value=getattr(limits, name), source=limits.sources[name]) for name in LIMIT_FIELDS},
        freezes=[FreezeView.model_validate(freeze) for freeze in Freeze.in_force(target)],
        usage={type_: _usage(type_, target, recent, limits, now) for type_ in ActionType} if target.name else None,
    )


def _usage(type_: ActionType, target: Target, recent: Sequence[RecentAction], limits: Limits, now: datetime) -> Usage:
    proposal = Proposal(type_, target, Origin.CLOSED_LOOP, {})  # neither guardrail reads the parameters
    until = Cooldown.of(target, type_).values_list("until", flat=True).first()
    facts = Facts(target_seen=False, cooldown_until=until, recent=tuple(recent))
    hour = actions_per_hour(proposal, facts, limits, now)
    return Usage(
        actions_this_hour=hour.details["value"],
        actions_limit=limits.max_actions_per_hour,
        next_allowed_at=hour.until,
        cooldown_until=cooldown(proposal, facts, limits, now).until,
        scale_increase=sum(one.scale_increase for one in increases_in_window(recent, now)),
        scale_increase_limit=limits.max_scale_increase,
    )
