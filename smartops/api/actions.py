"""`/v1/k8s/*` and `/v1/actions`: direct actions, which a reconciler executes, and reads of all actions."""

from contextlib import suppress
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import Error, connection
from django.http import HttpResponse
from django.urls import get_script_prefix
from ninja import Header, Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from orchestrator.decide.direct import KeyReused, Refused, admit_direct, digest_of_request
from orchestrator.models import FINAL, Action, ActionState, RefusedRequest
from signals.names import ClusterName, Namespace, WorkloadKind, WorkloadName
from signals.types import ActionType, Proposal
from smartops import queries
from smartops.api import refusals
from smartops.api.pagination import Page, PageQuery, names_in, paginate
from smartops.api.principals import AuthenticatedRequest, BearerToken, covered, readable, require_namespace
from smartops.api.problems import ProblemDetails, RequestReason, not_found
from smartops.api.requests import (
    ActionRequest,
    IdempotencyKey,
    PatchRequest,
    RestartRequest,
    ScaleRequest,
    require_allowed,
)
from smartops.api.views import ActionDetail, ActionResult, ActionView
from smartops.api.waiting import MAX_WAIT, ends_of, wait_for_end, wait_of
from smartops.scan import Index, scan_of
from smartops.tokens import Principal, Scope

Reply = Status[ActionResult | ActionView]
RESPONSES = {200: ActionResult, 202: ActionView}

router = Router(tags=["actions"], by_alias=True, auth=BearerToken(write=Scope.ACTIONS_WRITE))


class ActionHeaders(BaseModel):
    """How the caller wants the response."""

    prefer: str = Field(
        "",
        alias="Prefer",
        description=f"`wait=N`: wait N seconds for the end of the action, at most {MAX_WAIT}. "
        "`respond-async`: do not wait. Without a preference, the answer does not wait for an approval.",
    )
    idempotency_key: IdempotencyKey | None = Field(
        None, alias="Idempotency-Key", description="A repeated request with the same key returns the first action."
    )


class ActionQuery(PageQuery):
    state: ActionState | None = None
    type: ActionType | None = None
    cluster: ClusterName | None = None
    kind: WorkloadKind | None = Field(None, description="The kind of the target.")
    namespace: Namespace | None = None
    workload: WorkloadName | None = Field(None, description="The name of the target.")


@router.post("/k8s/scale", response=RESPONSES, exclude_defaults=True, summary="Scale a Deployment or a StatefulSet")
async def scale(
    request: AuthenticatedRequest, body: ScaleRequest, headers: Header[ActionHeaders], response: HttpResponse
) -> Reply:
    return await _act(request.auth, body.proposal(), headers, response)


@router.post("/k8s/restart", response=RESPONSES, exclude_defaults=True, summary="Restart all pods of a workload")
async def restart(
    request: AuthenticatedRequest, body: RestartRequest, headers: Header[ActionHeaders], response: HttpResponse
) -> Reply:
    return await _act(request.auth, body.proposal(), headers, response)


@router.post("/k8s/patch", response=RESPONSES, exclude_defaults=True, summary="Patch a workload")
async def patch(
    request: AuthenticatedRequest, body: PatchRequest, headers: Header[ActionHeaders], response: HttpResponse
) -> Reply:
    return await _act(request.auth, body.proposal(), headers, response)


@router.post("/actions/execute", response=RESPONSES, exclude_defaults=True, summary="Execute an action of any type")
async def execute(
    request: AuthenticatedRequest, body: ActionRequest, headers: Header[ActionHeaders], response: HttpResponse
) -> Reply:
    return await _act(request.auth, body.proposal(), headers, response)


@router.get("/actions", response=Page[ActionView], summary="List actions, newest first")
def list_actions(request: AuthenticatedRequest, query: Query[ActionQuery]) -> Page[ActionView]:
    wanted, names = query.model_dump(include={"state", "type"}, exclude_none=True), names_in(query)
    rows = queries.actions().filter(**wanted, **{f"workload__{name}": value for name, value in names.items()})
    rows = readable(rows, request.auth, query.namespace, "workload__namespace")
    visible = covered(request.auth, query.namespace)
    scan = scan_of(
        rows,
        Action.objects.all(),
        given={*wanted, *names},
        visible=visible,
        index=Index(queries.in_states([query.state]), ("state",)) if query.state else Index(),
        places=queries.places_of_actions(visible, names),
    )
    found, following = paginate(request, scan, query)
    return Page(items=[ActionView.of(row) for row in found], next=following)


@router.get(
    "/actions/{uuid:action_id}",
    response=ActionDetail,
    summary="Get an action with its timeline, decisions and verification",
)
def get_action(request: AuthenticatedRequest, action_id: UUID) -> ActionDetail:
    row = queries.actions().filter(pk=action_id).first()
    if row is None:
        raise not_found("action", action_id)
    require_namespace(request.auth, row.workload.namespace)
    return ActionDetail.of(row)


async def _act(principal: Principal, proposal: Proposal, headers: ActionHeaders, response: HttpResponse) -> Reply:
    action = await sync_to_async(_admit)(proposal, principal, headers.idempotency_key)
    seconds = wait_of(headers.prefer)
    ends = ends_of(headers.prefer)
    if seconds and action.state not in ends:
        # The action is stored. An error from here on must not make the caller send the request again.
        with suppress(Error):
            action = await wait_for_end(action.pk, seconds, _load, ends)
    if action.state not in FINAL:
        response["Location"] = f"{get_script_prefix()}v1/actions/{action.pk}"
        return Status(202, ActionView.of(action))
    if action.applied_at is None and action.state != ActionState.SUCCEEDED:
        raise refusals.of_action(action)
    return Status(200, ActionResult.of(action))


def _admit(proposal: Proposal, principal: Principal, idempotency_key: str | None) -> Action:
    try:
        require_namespace(principal, proposal.target.namespace)
        require_allowed(proposal)
    except ProblemDetails as problem:
        RefusedRequest.record(principal.actor, proposal.target, problem.reason, problem.detail)
        raise
    try:
        action = admit_direct(
            proposal, principal.actor, idempotency_key=idempotency_key, request_digest=digest_of_request(proposal)
        )
    except Refused as refused:
        raise refusals.of_decision(refused.decision) from None
    except KeyReused:
        detail = "This Idempotency-Key was used for another request. Use a new key."
        raise ProblemDetails(409, RequestReason.IDEMPOTENCY_KEY_REUSED, detail) from None
    with suppress(Error):
        return _load(action.pk)
    return action


def _load(pk: UUID) -> Action:
    action = queries.actions().get(pk=pk)
    if not connection.in_atomic_block:
        connection.close()  # a caller that waits must not hold a connection of the pool
    return action
