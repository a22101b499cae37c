"""`/v1/guardrails`: effective limits with their sources, freezes, and the usage of a workload.

The guardrails themselves compute the usage, for an action that the closed loop would start now."""

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field

from guardrails.checks.windows import actions_per_hour, cooldown, decreases_in_window, increases_in_window
from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze, effective_limits
from guardrails.types import Facts, Limits, RecentAction
from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import Workload
from signals.lib.clock import database_now
from signals.names import ClusterName, Namespace, WorkloadKind, WorkloadName
from signals.types import ActionType, Kind, Origin, Proposal, Target
from smartops.api.principals import AuthenticatedRequest, BearerToken, require_namespace
from smartops.api.problems import require_known
from smartops.tokens import Scope

router = Router(tags=["guardrails"], auth=BearerToken(write=Scope.ACTIONS_WRITE))


class ScopeQuery(BaseModel):
    cluster: ClusterName | None = None
    kind: WorkloadKind = Field(Kind.DEPLOYMENT, description="The limits of workloads of this kind.")
    namespace: Namespace | None = Field(None, description="Default: all; with `workload`, `SMARTOPS_NAMESPACE`.")
    workload: WorkloadName | None = None


class Limit(BaseModel):
    value: bool | int | str
    source: str = Field(description="`default`, or the scope that sets the value.")


class FreezeView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    scope: str
    reason: str
    by: str
    until: datetime | None


class Usage(BaseModel):
    """Usage of a workload's limits by one type of action. A time is null if that limit allows an action now."""

    actions_this_hour: int
    actions_limit: int
    next_allowed_at: datetime | None
    cooldown_until: datetime | None
    scale_increase: int = Field(description="Replicas added within 15 minutes, by actions of all types together.")
    scale_increase_limit: int
    scale_decrease: int = Field(description="Replicas removed within 15 minutes, by actions of all types together.")
    scale_decrease_limit: int


class GuardrailsView(BaseModel):
    """Guardrails of a workload, or of the workloads of one kind in a namespace, a cluster, or everywhere. `usage` is
    null without a workload."""

    cluster: str
    kind: Kind
    namespace: str | None
    workload: str | None
    limits: dict[str, Limit]
    freezes: list[FreezeView]
    usage: dict[ActionType, Usage] | None


@router.get("/guardrails", response=GuardrailsView, summary="Get effective limits, their sources, freezes and usage")
def get_guardrails(request: AuthenticatedRequest, query: Query[ScopeQuery]) -> GuardrailsView:
    require_known(request.GET, ScopeQuery.model_fields)
    namespace = query.namespace or (settings.SMARTOPS_NAMESPACE if query.workload else "")
    target = Target(query.cluster or settings.SMARTOPS_CLUSTER, namespace, query.workload or "", query.kind)
    if namespace:
        require_namespace(request.auth, namespace)
    key = {"cluster": target.cluster, "namespace": target.namespace, "kind": target.kind, "name": target.name}
    workload = Workload.objects.filter(**key).first()
    if workload is None:
        return _describe(target, (), database_now())
    [history] = load_history([Wanted(target, workload.pk, ActionType.SCALE)])
    return _describe(target, history.recent, history.now)


def _describe(target: Target, recent: Sequence[RecentAction], now: datetime) -> GuardrailsView:
    """A target without a name stands for a namespace, without a namespace for everything. `recent`: applied actions."""
    limits = effective_limits(target)
    return GuardrailsView(
        cluster=target.cluster,
        kind=target.kind,
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
        scale_decrease=sum(one.scale_decrease for one in decreases_in_window(recent, now)),
        scale_decrease_limit=limits.max_scale_decrease,
    )
