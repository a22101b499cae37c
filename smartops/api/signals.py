"""`/v1/signals`: agents post signals, callers read them. A post is answered after its transaction is committed."""

import json
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Count
from django.http import HttpResponse
from django.urls import get_script_prefix
from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from signals.allowance import Exceeded, post
from signals.ingest import Receipt
from signals.models import Signal, SignalState
from signals.names import ClusterName, Namespace, WorkloadKind, WorkloadName
from signals.sources.anomaly import AnomalySignal
from signals.sources.rca import RcaSignal
from signals.types import Observation, Source, Target
from smartops.api.intake import exceeded, require_room
from smartops.api.pagination import Page, PageQuery, paginate
from smartops.api.principals import AuthenticatedRequest, BearerToken, readable, require_namespace
from smartops.api.problems import (
    Problem,
    RequestReason,
    field_name,
    invalid,
    malformed,
    not_found,
    too_large,
)
from smartops.api.strict_json import Malformed
from smartops.api.views import SignalDetail, SignalView
from smartops.tokens import Scope
from smartops.web.bodies import MAX_BODY

MAX_SIGNALS = 1000

router = Router(tags=["signals"], auth=BearerToken(Scope.SIGNALS_WRITE, require_room))


class Accepted(BaseModel):
    id: UUID | None = Field(description="Of the signal; null if the post ends a problem that has no open signal.")
    state: SignalState
    duplicate: bool = Field(description="An equal post was stored before; this one changed nothing.")


class BatchAnomaly(AnomalySignal):
    kind: Literal["anomaly"] = "anomaly"


class BatchRca(RcaSignal):
    kind: Literal["rca"] = "rca"


class Batch(BaseModel):
    """Each signal is parsed and validated on its own: an error in one does not affect the others. A signal without
    `kind` is an RCA if it has `rankedCauses`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    signals: list[SkipValidation[BatchAnomaly | BatchRca]] = Field(min_length=1, max_length=MAX_SIGNALS)


class BatchItem(BaseModel):
    """The result for the signal at `index`, with the status that a post of this signal alone would have."""

    index: int
    status: int = Field(description="202 if the signal was stored, else the status of `problem`.")
    id: UUID | None = None
    state: SignalState | None = None
    duplicate: bool | None = None
    problem: dict[str, Any] | None = Field(
        None, description="A Problem. Each of its `errors` names the path in the batch, as `signals[1].score`."
    )


class BatchResult(BaseModel):
    """One item for each signal, in the order of the batch. The signals with status 202 are stored; the others are
    not."""

    items: list[BatchItem]


class SignalQuery(PageQuery):
    state: SignalState | None = None
    source: Source | None = None
    cluster: ClusterName | None = None
    kind: WorkloadKind | None = None
    namespace: Namespace | None = None
    workload: WorkloadName | None = None


@router.post("/signals/anomaly", response={202: Accepted}, summary="Post an anomaly, or the end of one")
def post_anomaly(request: AuthenticatedRequest, signal: AnomalySignal, response: HttpResponse) -> Accepted:
    return _accept(request, signal, response)


@router.post("/signals/rca", response={202: Accepted}, summary="Post ranked root causes")
def post_rca(request: AuthenticatedRequest, signal: RcaSignal, response: HttpResponse) -> Accepted:
    return _accept(request, signal, response)


@router.post("/signals/batch", response={202: BatchResult}, summary="Post up to 1,000 signals of both kinds")
def post_batch(request: AuthenticatedRequest, batch: Batch) -> HttpResponse:
    """The valid signals are stored in one transaction. The response is 202 if at least one signal was stored, and has a
    status and, where it applies, a problem for each. If none is valid, the response is 422 with the same `items`. A
    signal beyond a limit of the token has the status 429; the response is 429 if none was stored. Only a body that is
    not JSON, or has no list `signals`, is refused as a whole."""
    sizes = len(request.body) > MAX_BODY
    read = [_read(request, index, item, sizes) for index, item in enumerate(batch.signals)]
    results = iter(_post(request, [one for one in read if isinstance(one, Observation)]))
    done = [one if isinstance(one, Problem) else next(results) for one in read]
    items = [
        _refused(index, one) if isinstance(one, Problem) else _stored(index, one) for index, one in enumerate(done)
    ]
    problems = [one for one in done if isinstance(one, Problem)]
    if len(problems) == len(done):
        raise _all_refused(problems, [item.model_dump(exclude_none=True) for item in items])
    # Rendered here: ninja would validate each item once more, and encode it in Python.
    document = BatchResult(items=items).model_dump_json(exclude_none=True)
    return HttpResponse(document, status=202, content_type="application/json; charset=utf-8")


@router.get("/signals", response=Page[SignalView], summary="List signals, newest first")
def list_signals(request: AuthenticatedRequest, query: Query[SignalQuery]) -> Page[SignalView]:
    rows = readable(Signal.objects.defer("payload"), request.auth, query.namespace, "namespace")
    wanted = query.model_dump(include={"state", "source", "cluster", "kind", "workload"}, exclude_none=True)
    found, following = paginate(request, rows.filter(**wanted), query)
    return Page(items=[SignalView.model_validate(row) for row in found], next=following)


@router.get(
    "/signals/{uuid:signal_id}", response=SignalDetail, summary="Get a signal with its payload, decisions and actions"
)
def get_signal(request: AuthenticatedRequest, signal_id: UUID) -> SignalDetail:
    row = Signal.objects.annotate(reports=Count("observations")).filter(pk=signal_id).first()
    if row is None:
        raise not_found("signal", signal_id)
    require_namespace(request.auth, row.namespace)
    return SignalDetail.of(row, row.reports)


def _accept(request: AuthenticatedRequest, signal: AnomalySignal | RcaSignal, response: HttpResponse) -> Accepted:
    [receipt] = _post(request, [_observed(request, signal)])
    if isinstance(receipt, Problem):
        raise receipt
    pk = UUID(receipt.signal_id) if receipt.signal_id else None
    if pk is not None:
        response["Location"] = f"{get_script_prefix()}v1/signals/{pk}"
    return Accepted(id=pk, state=SignalState(receipt.state), duplicate=receipt.duplicate)


def _post(request: AuthenticatedRequest, observations: list[Observation]) -> list[Receipt | Problem]:
    token = request.auth
    return [
        exceeded(token.name, one) if isinstance(one, Exceeded) else one
        for one in post(observations, token.actor, token.quota)
    ]


def _all_refused(problems: list[Problem], items: list[dict[str, Any]]) -> Problem:
    """429 if one of them may be repeated later, otherwise 422."""
    for one in problems:
        if pause := one.headers.get("Retry-After"):
            whole = Problem(one.status, one.reason, one.detail, details=one.members["details"], items=items)
            whole.headers["Retry-After"] = pause
            return whole
    return Problem(422, RequestReason.INVALID_REQUEST, "None of the signals is valid.", items=items)


def _observed(request: AuthenticatedRequest, signal: AnomalySignal | RcaSignal) -> Observation:
    observation = signal.observation(Target(settings.SMARTOPS_CLUSTER, settings.SMARTOPS_NAMESPACE, ""))
    require_namespace(request.auth, observation.target.namespace)
    return observation


def _read(request: AuthenticatedRequest, index: int, item: Any, sizes: bool) -> Observation | Problem:
    """`sizes`: whether the item may exceed the size of a single post."""
    path = ("signals", index)
    if isinstance(item, Malformed):
        return malformed(item)
    if not isinstance(item, Mapping):
        return invalid([{"loc": (), "msg": "Input should be an object"}], path)
    if sizes and (size := len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())) > MAX_BODY:
        return too_large(f"item {field_name(path)}", size, MAX_BODY)
    kind = item.get("kind", "rca" if "rankedCauses" in item else "anomaly")
    try:
        return _observed(request, (BatchRca if kind == "rca" else BatchAnomaly).model_validate(item))
    except ValidationError as error:
        return invalid(error.errors(include_url=False, include_input=False), path)
    except Problem as problem:
        return problem


def _stored(index: int, receipt: Receipt) -> BatchItem:
    item = {"index": index, "status": 202, "id": receipt.signal_id or None, "state": receipt.state}
    return BatchItem.model_validate(item | {"duplicate": receipt.duplicate})


def _refused(index: int, problem: Problem) -> BatchItem:
    return BatchItem(index=index, status=problem.status, problem=problem.document())
