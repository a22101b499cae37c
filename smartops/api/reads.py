"""What was done and why, for whoever asks later."""

from uuid import UUID

from django.conf import settings
from django.db.models import Count
from ninja import Query, Router
from pydantic import BaseModel, Field

from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import Action, ActionState, DecisionRecord, Workload
from signals.lib.clock import database_now
from signals.models import Signal
from signals.names import ClusterName, Namespace, WorkloadName
from signals.types import ActionType, Target
from smartops.api.guardrails import GuardrailsView, describe
from smartops.api.pagination import Page, PageQuery, paginate
from smartops.api.principals import AuthenticatedRequest, require_namespace
from smartops.api.problems import Problem, RequestReason, require_known
from smartops.api.signals import SignalView
from smartops.api.views import ActionDetail, ActionView, SignalDetail, decisions

router = Router()


class ActionQuery(PageQuery):
    state: ActionState | None = None
    type: ActionType | None = None
    cluster: ClusterName | None = None
    namespace: Namespace | None = None
    name: WorkloadName | None = Field(None, description="The target's name.")


class ScopeQuery(BaseModel):
    cluster: ClusterName | None = None
    namespace: Namespace | None = Field(None, description="Default: everything, or the namespace of the workload.")
    workload: WorkloadName | None = None


@router.get("/actions", response=Page[ActionView], tags=["actions"], summary="List actions, newest first")
def list_actions(request: AuthenticatedRequest, query: Query[ActionQuery]) -> Page[ActionView]:
    rows = Action.objects.select_related("workload", "verification")
    if query.namespace:
        require_namespace(request.auth, query.namespace)
    elif request.auth.namespaces:
        rows = rows.filter(workload__namespace__in=request.auth.namespaces)
    wanted = query.model_dump(include={"state", "type", "cluster"}, exclude_none=True)
    place = query.model_dump(include={"namespace", "name"}, exclude_none=True)
    rows = rows.filter(**wanted, **{f"workload__{field}": value for field, value in place.items()})
    found, following = paginate(request, rows, query)
    return Page(items=[ActionView.of(row) for row in found], next=following)


@router.get(
    "/actions/{uuid:action_id}",
    response=ActionDetail,
    tags=["actions"],
    summary="One action: timeline, decisions, verification",
)
def get_action(request: AuthenticatedRequest, action_id: UUID) -> ActionDetail:
    row = Action.objects.select_related("workload", "verification").filter(pk=action_id).first()
    if row is None:
        raise Problem(404, RequestReason.NOT_FOUND, f"There is no action {action_id}.")
    require_namespace(request.auth, row.workload.namespace)
    return ActionDetail.of(row)


@router.get(
    "/signals/{uuid:signal_id}",
    response=SignalDetail,
    tags=["signals"],
    summary="One signal: what was reported, decided and done",
)
def get_signal(request: AuthenticatedRequest, signal_id: UUID) -> SignalDetail:
    row = Signal.objects.annotate(reports=Count("observations")).filter(pk=signal_id).first()
    if row is None:
        raise Problem(404, RequestReason.NOT_FOUND, f"There is no signal {signal_id}.")
    require_namespace(request.auth, row.namespace)
    actions = Action.objects.filter(signal=row).select_related("workload", "verification").order_by("pk")
    return SignalDetail(
        **SignalView.model_validate(row).model_dump(),
        payload=row.payload,
        observations=row.reports,
        decisions=decisions(DecisionRecord.objects.filter(signal=row)),
        actions=[ActionView.of(action) for action in actions],
    )


@router.get(
    "/guardrails",
    response=GuardrailsView,
    tags=["guardrails"],
    summary="Effective limits, where each comes from, and what is used up",
)
def get_guardrails(request: AuthenticatedRequest, query: Query[ScopeQuery]) -> GuardrailsView:
    require_known(request.GET, ScopeQuery.model_fields)
    namespace = query.namespace or (settings.SMARTOPS_NAMESPACE if query.workload else "")
    target = Target(query.cluster or settings.SMARTOPS_CLUSTER, namespace, query.workload or "")
    if namespace:
        require_namespace(request.auth, namespace)
    place = {"cluster": target.cluster, "namespace": target.namespace, "kind": target.kind, "name": target.name}
    workload = Workload.objects.filter(**place).first()
    if workload is None:
        return describe(target, (), database_now())
    [known] = load_history([Wanted(target, workload.pk, ActionType.SCALE)])
    return describe(target, known.recent, known.now)
