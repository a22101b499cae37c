"""`/v1/approvals`: what waits for a decision of persons, for agents to read. No token can decide."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field

from orchestrator import links
from orchestrator.decide.approval import required
from orchestrator.models import Action, ActionState
from signals.names import ClusterName, Namespace, WorkloadKind, WorkloadName
from signals.types import ActionType
from smartops import queries
from smartops.api.pagination import Page, PageQuery, paginate
from smartops.api.principals import AuthenticatedRequest, BearerToken, readable, require_namespace
from smartops.api.problems import not_found
from smartops.api.views import ActionView, FieldView, changed_fields
from smartops.tokens import Scope

router = Router(tags=["approvals"], auth=BearerToken(write=Scope.READ))


class ApprovalQuery(PageQuery):
    type: ActionType | None = None
    cluster: ClusterName | None = None
    kind: WorkloadKind | None = Field(None, description="The kind of the target.")
    namespace: Namespace | None = None
    workload: WorkloadName | None = None


class VoteView(BaseModel):
    """A decision of one person. `counts`: it is about what is shown now, and the person has not decided again."""

    model_config = ConfigDict(from_attributes=True)

    by: str = Field(description="A person, as an actor: `user:NAME`.")
    decision: Literal["approve", "reject"]
    reason: str
    at: datetime
    digest: str
    acknowledged: list[str] = Field(description="Why the risk was high, as the person acknowledged it.")
    counts: bool


class ChangeView(BaseModel):
    what: str
    before: Any
    after: Any


class ApprovalView(ActionView):
    """An action that persons were asked to approve. `deadline_at` is when it expires, while it waits."""

    digest: str = Field(description="Of what is shown. Decisions on another digest do not count.")
    shown: dict[str, Any] = Field(
        description="uid and generation of the target, change, the fields before and after it, rule and its version, "
        "and the effective limits."
    )
    fields: list[FieldView] = Field(description="The fields that would change.")
    changed: list[ChangeView] = Field(description="What has changed since it was shown before.")
    required: int = Field(description="So many persons have to approve it.")
    approvals: list[VoteView] = Field(description="All decisions, oldest first.")

    @classmethod
    def of(cls, action: Action) -> "ApprovalView":
        votes, console = list(action.approvals.all()), settings.SMARTOPS_CONSOLE_URL
        last = {vote.by: vote.pk for vote in votes}
        for vote in votes:
            vote.counts = vote.digest == action.digest and last[vote.by] == vote.pk  # type: ignore[attr-defined]
        return cls(
            **{**ActionView.of(action).model_dump(), "url": links.to_action(console, action.pk, waits=True)},
            digest=action.digest,
            shown=action.shown or {},
            fields=changed_fields(action),
            changed=[ChangeView(**one) for one in action.details.get("changed", [])],
            required=required(action),
            approvals=[VoteView.model_validate(vote) for vote in votes],
        )


@router.get("/approvals", response=Page[ApprovalView], summary="List what waits for an approval, newest first")
def list_approvals(request: AuthenticatedRequest, query: Query[ApprovalQuery]) -> Page[ApprovalView]:
    """What has expired is not listed, also before its state changes."""
    waits = queries.actions().filter(state=ActionState.AWAITING_APPROVAL, deadline_at__gt=Now())
    rows = readable(waits, request.auth, query.namespace, "workload__namespace")
    rows = rows.filter(**query.model_dump(include={"type", "cluster"}, exclude_none=True))
    of_workload = {"workload__kind": query.kind, "workload__name": query.workload}
    rows = rows.filter(**{name: value for name, value in of_workload.items() if value is not None})
    found, following = paginate(request, rows.prefetch_related("approvals"), query)
    return Page(items=[ApprovalView.of(row) for row in found], next=following)


@router.get("/approvals/{uuid:action_id}", response=ApprovalView, summary="Get an approval by the id of its action")
def get_approval(request: AuthenticatedRequest, action_id: UUID) -> ApprovalView:
    """Also after it was decided. 404 for an action that nobody was asked about."""
    row = queries.actions().filter(pk=action_id).exclude(digest="").first()
    if row is None:
        raise not_found("approval", action_id)
    require_namespace(request.auth, row.workload.namespace)
    return ApprovalView.of(row)
