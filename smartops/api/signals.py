"""`/v1/signals`: detectors post signals, callers read them. A post is answered after its transaction is committed."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
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
from signals.names import ClusterName, Namespace, SubjectName, WorkloadKind
from signals.reasons import Reason
from signals.sources.anomaly import AnomalySignal
from signals.sources.rca import RcaSignal
from signals.sources.several import OBSERVATIONS, divide
from signals.types import Observation, Source, Target
from smartops import queries
from smartops.api.intake import exceeded, require_room
from smartops.api.pagination import Page, PageQuery, names_in, paginate
from smartops.api.principals import AuthenticatedRequest, BearerToken, covered, require_namespace
from smartops.api.problems import (
    ProblemDetails,
    RequestReason,
    field_name,
    invalid,
    malformed,
    not_found,
    too_large,
)
from smartops.api.views import SignalDetail, SignalView
from smartops.scan import scan_of
from smartops.strict_json import Malformed
from smartops.tokens import Scope
from smartops.web.bodies import MAX_BODY

MAX_SIGNALS = 1000
MAX_SHARED = 4 * MAX_BODY  # of the fields that the observations of a post share, counted for each of them
Model = type[AnomalySignal | RcaSignal]

router = Router(tags=["signals"], auth=BearerToken(Scope.SIGNALS_WRITE, require_room))


class Accepted(BaseModel):
    id: UUID | None = Field(description="Of the signal; null if the post ends a problem that has no open signal.")
    state: SignalState
    duplicate: bool = Field(description="An equal post was stored before; this one changed nothing.")


class AnomalyPost(BaseModel):
    """Several anomalies. Each is parsed and validated on its own, with the fields of the post that it does not have
    itself; labels and annotations are merged name by name."""

    model_config = ConfigDict(extra="allow", strict=True)

    observations: list[SkipValidation[AnomalySignal]] = Field(min_length=1, max_length=MAX_SIGNALS)


class RcaPost(BaseModel):
    """Several root causes, as `AnomalyPost` has several anomalies."""

    model_config = ConfigDict(extra="allow", strict=True)

    observations: list[SkipValidation[RcaSignal]] = Field(min_length=1, max_length=MAX_SIGNALS)


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
        None, description="A ProblemDetails. Each of its `errors` names the path in the batch, as `signals[1].score`."
    )


class BatchResult(BaseModel):
    """One item for each signal, in the order of the batch. The signals with status 202 are stored; the others are
    not."""

    items: list[BatchItem]


# What arrives is a JSON object. Its observations are validated in the view, each on its own.
AnomalyBody = Annotated[AnomalySignal | AnomalyPost, SkipValidation]
RcaBody = Annotated[RcaSignal | RcaPost, SkipValidation]
Response = Accepted | BatchResult | HttpResponse


class SignalQuery(PageQuery):
    state: SignalState | None = None
    reason: Reason | None = None
    source: Source | None = None
    cluster: ClusterName | None = None
    kind: WorkloadKind | None = None
    namespace: Namespace | None = None
    workload: SubjectName | None = None


@router.post("/signals/anomaly", response={202: Accepted | BatchResult}, summary="Post anomalies, or ends of them")
def post_anomaly(request: AuthenticatedRequest, signal: AnomalyBody, response: HttpResponse) -> Response:
    """A post with `observations` is answered as a batch of them."""
    return _accept(request, signal, AnomalySignal, response)


@router.post("/signals/rca", response={202: Accepted | BatchResult}, summary="Post ranked root causes")
def post_rca(request: AuthenticatedRequest, signal: RcaBody, response: HttpResponse) -> Response:
    """A post with `observations` is answered as a batch of them."""
    return _accept(request, signal, RcaSignal, response)


@router.post("/signals/batch", response={202: BatchResult}, summary="Post up to 1,000 signals of both kinds")
def post_batch(request: AuthenticatedRequest, batch: Batch) -> HttpResponse:
    """The valid signals are stored in one transaction. The response is 202 if at least one signal was stored, and has a
    status and, where it applies, a problem for each. If none is valid, the response is 422 with the same `items`. A
    signal beyond a limit of the token has the status 429; the response is 429 if none was stored. Only a body that is
    not JSON, or has no list `signals`, is refused as a whole."""
    sizes = len(request.body) > MAX_BODY
    return _accept_all(request, [_item(request, index, item, sizes) for index, item in enumerate(batch.signals)])


@router.get("/signals", response=Page[SignalView], summary="List signals, newest first")
def list_signals(request: AuthenticatedRequest, query: Query[SignalQuery]) -> Page[SignalView]:
    wanted = query.model_dump(include={"state", "reason", "source"}, exclude_none=True)
    names, visible = names_in(query), covered(request.auth, query.namespace)
    scan = scan_of(
        Signal.objects.defer("payload").filter(visible, **wanted, **queries.signal_columns(names)),
        Signal.objects.all(),
        given={*wanted, *names},
        visible=visible,
        index=queries.index_of_signals(query.state, query.reason),
        places=queries.places_of_signals(visible, names),
    )
    found, following = paginate(request, scan, query)
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


def _accept(request: AuthenticatedRequest, body: Any, model: Model, response: HttpResponse) -> Response:
    if OBSERVATIONS in body:
        parts = enumerate(divide(_several(body)))
        return _accept_all(request, [_read(request, one, model, (OBSERVATIONS, index)) for index, one in parts])
    observation = _read(request, body, model, ())
    if isinstance(observation, ProblemDetails):
        raise observation
    [receipt] = _post(request, [observation])
    if isinstance(receipt, ProblemDetails):
        raise receipt
    pk = UUID(receipt.signal_id) if receipt.signal_id else None
    if pk is not None:
        response["Location"] = f"{get_script_prefix()}v1/signals/{pk}"
    return Accepted(id=pk, state=SignalState(receipt.state), duplicate=receipt.duplicate)


def _several(body: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        AnomalyPost.model_validate(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False)) from None
    shared = {name: value for name, value in body.items() if name != OBSERVATIONS}
    size, number = _size(shared), len(body[OBSERVATIONS])
    if size * number > MAX_SHARED:
        raise too_large(f"content that {number} observations share, {size} bytes each,", size * number, MAX_SHARED)
    return body


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _accept_all(request: AuthenticatedRequest, read: list[Observation | ProblemDetails]) -> HttpResponse:
    """Stores those that are valid. One item of the answer for each, in order."""
    results = iter(_post(request, [one for one in read if isinstance(one, Observation)]))
    done = [one if isinstance(one, ProblemDetails) else next(results) for one in read]
    items = [
        _refused(index, one) if isinstance(one, ProblemDetails) else _stored(index, one)
        for index, one in enumerate(done)
    ]
    problems = [one for one in done if isinstance(one, ProblemDetails)]
    if len(problems) == len(done):
        raise _all_refused(problems, [item.model_dump(exclude_none=True) for item in items])
    # Rendered here: ninja would validate each item once more, and encode it in Python.
    document = BatchResult(items=items).model_dump_json(exclude_none=True)
    return HttpResponse(document, status=202, content_type="application/json; charset=utf-8")


def _post(request: AuthenticatedRequest, observations: list[Observation]) -> list[Receipt | ProblemDetails]:
    token = request.auth
    return [
        exceeded(token.name, one) if isinstance(one, Exceeded) else one
        for one in post(observations, token.actor, token.quota)
    ]


def _all_refused(problems: list[ProblemDetails], items: list[dict[str, Any]]) -> ProblemDetails:
    """429 if one of them may be repeated later, otherwise 422."""
    for one in problems:
        if pause := one.headers.get("Retry-After"):
            whole = ProblemDetails(one.status, one.reason, one.detail, details=one.members["details"], items=items)
            whole.headers["Retry-After"] = pause
            return whole
    return ProblemDetails(422, RequestReason.INVALID_REQUEST, "None of the signals is valid.", items=items)


def _item(request: AuthenticatedRequest, index: int, item: Any, sizes: bool) -> Observation | ProblemDetails:
    """Of a batch. `sizes`: whether the item may exceed the size of a single post."""
    path = ("signals", index)
    is_object = isinstance(item, Mapping)
    if sizes and is_object and (size := _size(item)) > MAX_BODY:
        return too_large(f"item {field_name(path)}", size, MAX_BODY)
    is_rca = is_object and item.get("kind", "rca" if "rankedCauses" in item else "anomaly") == "rca"
    return _read(request, item, BatchRca if is_rca else BatchAnomaly, path)


def _read(
    request: AuthenticatedRequest, body: Any, model: Model, path: tuple[str | int, ...]
) -> Observation | ProblemDetails:
    """`path` leads to this observation in the body of the request."""
    if isinstance(body, Malformed):
        return malformed(body)
    if not isinstance(body, Mapping):
        return invalid([{"loc": (), "msg": "Input should be an object"}], path)
    try:
        signal = model.model_validate(body)
        observation = signal.observation(Target(settings.SMARTOPS_CLUSTER, settings.SMARTOPS_NAMESPACE, ""))
        require_namespace(request.auth, observation.target.namespace)
    except ValidationError as error:
        return invalid(error.errors(include_url=False, include_input=False), path)
    except ProblemDetails as problem:
        return problem
    return observation


def _stored(index: int, receipt: Receipt) -> BatchItem:
    item = {"index": index, "status": 202, "id": receipt.signal_id or None, "state": receipt.state}
    return BatchItem.model_validate(item | {"duplicate": receipt.duplicate})


def _refused(index: int, problem: ProblemDetails) -> BatchItem:
    return BatchItem(index=index, status=problem.status, problem=problem.document())
