"""Direct actions: asked for, executed by a reconciler, and answered when they have ended or the caller's wait has."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpResponse
from ninja import Header, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from orchestrator.decide.direct import KeyReused, Refused, admit_direct
from orchestrator.models import FINAL, Action, ActionState
from signals.types import Proposal
from smartops.api import refusals
from smartops.api.principals import AuthenticatedRequest, Principal, require_namespace
from smartops.api.problems import Problem, RequestReason
from smartops.api.requests import (
    ActionRequest,
    IdempotencyKey,
    PatchRequest,
    RestartRequest,
    ScaleRequest,
    digest,
)
from smartops.api.views import ActionView, VerificationView, verification

Reply = Status[Any]
Follow = Callable[[str, object], AbstractAsyncContextManager[asyncio.Event]]
DEFAULT_WAIT, MAX_WAIT = 60, 300  # seconds
# Somebody has to decide: that takes longer than a caller waits.
SETTLED = (*FINAL, ActionState.NEEDS_REVIEW, ActionState.AWAITING_APPROVAL)


class How(BaseModel):
    """How the caller wants to be answered."""

    prefer: str = Field(
        "", alias="Prefer", description=f"`wait=N`: seconds, at most {MAX_WAIT}. `respond-async`: do not wait."
    )
    idempotency_key: IdempotencyKey | None = Field(
        None, alias="Idempotency-Key", description="The same key and request give the same action, and its answer."
    )


class Details(BaseModel):
    runner: dict[str, Any] = Field(
        description="What was done to the cluster: status (success, dry_run), attempts, duration_seconds, change."
    )
    action: UUID


class Answer(BaseModel):
    """`success`: the change was made and, where asked for, verified."""

    success: bool
    message: str
    dry_run: bool
    details: Details
    verification: VerificationView | None


def router(follow: Follow) -> Router:
    """`follow(model, pk)` gives an event that is set when the row may have changed."""
    routes = Router(tags=["actions"], by_alias=True)
    responses = {200: Answer, 202: ActionView}

    async def act(request: AuthenticatedRequest, proposal: Proposal, how: How, response: HttpResponse) -> Reply:
        action = await sync_to_async(_admit)(proposal, request.auth, how.idempotency_key)
        seconds = wait_of(how.prefer)
        if seconds and action.state not in SETTLED:
            # It is stored: whatever fails from here on, the caller must not think that it may ask again.
            with suppress(DatabaseError):
                action = await _settled(follow, action.pk, seconds)
        if action.state in FINAL:
            return Status(200, _answer(action))
        response["Location"] = f"/v1/actions/{action.pk}"
        return Status(202, ActionView.of(action))

    @routes.post("/k8s/scale", response=responses, summary="Scale a Deployment")
    async def scale(
        request: AuthenticatedRequest, asked: ScaleRequest, how: Header[How], response: HttpResponse
    ) -> Reply:
        return await act(request, asked.proposal(), how, response)

    @routes.post("/k8s/restart", response=responses, summary="Restart all pods of a Deployment")
    async def restart(
        request: AuthenticatedRequest, asked: RestartRequest, how: Header[How], response: HttpResponse
    ) -> Reply:
        return await act(request, asked.proposal(), how, response)

    @routes.post("/k8s/patch", response=responses, summary="Patch a Deployment")
    async def patch(
        request: AuthenticatedRequest, asked: PatchRequest, how: Header[How], response: HttpResponse
    ) -> Reply:
        return await act(request, asked.proposal(), how, response)

    @routes.post("/actions/execute", response=responses, summary="Do any of them")
    async def execute(
        request: AuthenticatedRequest, asked: ActionRequest, how: Header[How], response: HttpResponse
    ) -> Reply:
        return await act(request, asked.proposal(), how, response)

    return routes


def wait_of(prefer: str) -> int:
    """The seconds of RFC 7240's `wait=N`; `respond-async` alone is none. What cannot be read counts as not said."""
    preferences = [part.strip().lower() for part in prefer.split(",")]
    for preference in preferences:
        if match := re.fullmatch(r'wait\s*=\s*"?([0-9]{1,9})"?', preference):
            return min(int(match[1]), MAX_WAIT)
    return 0 if "respond-async" in preferences else DEFAULT_WAIT


def _admit(proposal: Proposal, caller: Principal, idempotency_key: str | None) -> Action:
    require_namespace(caller, proposal.target.namespace)
    try:
        action = admit_direct(proposal, caller.name, idempotency_key=idempotency_key, request_digest=digest(proposal))
    except Refused as refused:
        raise refusals.of_decision(refused.decision) from None
    except KeyReused:
        detail = "This key came with another request before: use a new one."
        raise Problem(409, RequestReason.IDEMPOTENCY_KEY_REUSED, detail) from None
    with suppress(DatabaseError):
        return _load(action.pk)
    return action


async def _settled(follow: Follow, pk: UUID, seconds: int) -> Action:
    """The action when nothing more will happen soon, or as it is when the wait ends."""
    load = sync_to_async(_load)
    try:
        async with asyncio.timeout(seconds), follow("action", pk) as changed:
            while True:
                changed.clear()
                action = await load(pk)
                if action.state in SETTLED:
                    return action
                await changed.wait()
    except TimeoutError:
        return await load(pk)


def _load(pk: UUID) -> Action:
    action = Action.objects.select_related("workload", "verification").get(pk=pk)
    if not connection.in_atomic_block:
        connection.close()  # a caller that waits must not hold a connection of the pool
    return action


def _answer(action: Action) -> Answer:
    success = action.state == ActionState.SUCCEEDED
    if not success and action.applied_at is None:
        raise refusals.of_action(action)
    evidence = verification(action)
    ended = action.applied_at or action.finished_at or action.updated_at
    return Answer(
        success=success,
        message=action.message,
        dry_run=action.dry_run,
        details=Details(
            runner={
                "status": "dry_run" if action.dry_run else "success",
                "attempts": action.attempts,
                "duration_seconds": round((ended - action.created_at).total_seconds(), 3),
                "change": action.change,
            },
            action=action.pk,
        ),
        verification=None if evidence is None else VerificationView.model_validate(evidence),
    )
