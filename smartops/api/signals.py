"""Signals over HTTP: agents post them, everybody reads what became of them. A post is answered after its commit."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, ValidationError

from signals.ingest import Receipt, ingest
from signals.models import Signal, SignalState
from signals.names import ClusterName, Namespace, WorkloadName
from signals.sources.anomaly import AnomalySignal
from signals.sources.rca import RcaSignal
from signals.types import Observation, Source, Target
from smartops.api.pagination import Page, PageQuery, paginate
from smartops.api.principals import AuthenticatedRequest, require_namespace
from smartops.api.problems import Problem, RequestReason, invalid

MAX_SIGNALS = 1000
OrNull = BeforeValidator(lambda value: value or None)

router = Router(tags=["signals"])


class Accepted(BaseModel):
    id: UUID
    state: SignalState
    duplicate: bool = Field(description="The same post had been stored before, and nothing changed.")


class BatchAnomaly(AnomalySignal):
    kind: Literal["anomaly"] = "anomaly"


class BatchRca(RcaSignal):
    kind: Literal["rca"] = "rca"


class Batch(BaseModel):
    """Each signal is judged by itself. Without a `kind`, the one with `rankedCauses` is an RCA."""

    model_config = ConfigDict(extra="forbid", strict=True)

    signals: list[SkipValidation[BatchAnomaly | BatchRca]] = Field(min_length=1, max_length=MAX_SIGNALS)


class BatchItem(BaseModel):
    """The signal at `index`: stored (202, with its id), or not (with the problem)."""

    index: int
    status: int
    id: UUID | None = None
    state: SignalState | None = None
    duplicate: bool | None = None
    problem: dict[str, Any] | None = None


class BatchAnswer(BaseModel):
    items: list[BatchItem]


class SignalView(BaseModel):
    """One trouble of one workload. Deferred: pending, with a `reason` and a `not_before` that lies ahead."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: Source
    cluster: str
    namespace: str
    workload: str
    symptom: str = Field(description="The anomaly's type, or the most probable cause.")
    state: SignalState
    reason: Annotated[str | None, OrNull] = Field(description="CamelCase; null where nothing stood against it.")
    message: Annotated[str | None, OrNull]
    score: float | None
    probability: float | None
    confidence: float | None
    count: int = Field(description="How often it was reported while it was open.")
    first_seen_at: datetime
    last_seen_at: datetime
    not_before: datetime
    resolved_at: datetime | None
    closed_at: datetime | None


class SignalQuery(PageQuery):
    state: SignalState | None = None
    source: Source | None = None
    cluster: ClusterName | None = None
    namespace: Namespace | None = None
    workload: WorkloadName | None = None


@router.post("/signals/anomaly", response={202: Accepted}, summary="Report an anomaly, or its end")
def post_anomaly(request: AuthenticatedRequest, signal: AnomalySignal, response: HttpResponse) -> Accepted:
    return _accept(request, signal, response)


@router.post("/signals/rca", response={202: Accepted}, summary="Report a root cause")
def post_rca(request: AuthenticatedRequest, signal: RcaSignal, response: HttpResponse) -> Accepted:
    return _accept(request, signal, response)


@router.post("/signals/batch", response={202: BatchAnswer}, summary="Report many signals of both kinds")
def post_batch(request: AuthenticatedRequest, batch: Batch) -> HttpResponse:
    """The valid ones are stored together, or none of them. 202 where at least one is valid, else 422 with `items`."""
    read = [_read(request, item) for item in batch.signals]
    receipts = iter(ingest([one for one in read if isinstance(one, Observation)], request.auth.name))
    items = [
        _refused(index, one) if isinstance(one, Problem) else _stored(index, next(receipts))
        for index, one in enumerate(read)
    ]
    if all(isinstance(one, Problem) for one in read):
        refused = [item.model_dump(exclude_none=True) for item in items]
        raise Problem(422, RequestReason.INVALID_REQUEST, "None of the signals is valid.", items=refused)
    # Rendered here: ninja would validate each item once more, and encode it in Python.
    document = BatchAnswer(items=items).model_dump_json(exclude_none=True)
    return HttpResponse(document, status=202, content_type="application/json; charset=utf-8")


@router.get("/signals", response=Page[SignalView], summary="List signals, newest first")
def list_signals(request: AuthenticatedRequest, query: Query[SignalQuery]) -> Page[SignalView]:
    rows = Signal.objects.defer("payload")
    if query.namespace:
        require_namespace(request.auth, query.namespace)
    elif request.auth.namespaces:
        rows = rows.filter(namespace__in=request.auth.namespaces)
    wanted = query.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
    found, following = paginate(request, rows.filter(**wanted), query)
    return Page(items=[SignalView.model_validate(row) for row in found], next=following)


def _accept(request: AuthenticatedRequest, signal: AnomalySignal | RcaSignal, response: HttpResponse) -> Accepted:
    receipt = ingest([_observed(request, signal)], request.auth.name)[0]
    response["Location"] = f"/v1/signals/{receipt.signal_id}"
    return Accepted(id=UUID(receipt.signal_id), state=SignalState(receipt.state), duplicate=receipt.duplicate)


def _observed(request: AuthenticatedRequest, signal: AnomalySignal | RcaSignal) -> Observation:
    observation = signal.observation(Target(settings.SMARTOPS_CLUSTER, settings.SMARTOPS_NAMESPACE, ""))
    require_namespace(request.auth, observation.target.namespace)
    return observation


def _read(request: AuthenticatedRequest, item: Any) -> Observation | Problem:
    if not isinstance(item, Mapping):
        return invalid([{"loc": (), "msg": "It must be an object"}])
    kind = item.get("kind", "rca" if "rankedCauses" in item else "anomaly")
    try:
        return _observed(request, (BatchRca if kind == "rca" else BatchAnomaly).model_validate(item))
    except ValidationError as error:
        return invalid(error.errors(include_url=False, include_input=False))
    except Problem as problem:
        return problem


def _stored(index: int, receipt: Receipt) -> BatchItem:
    item = {"index": index, "status": 202, "id": receipt.signal_id, "state": receipt.state}
    return BatchItem.model_validate(item | {"duplicate": receipt.duplicate})


def _refused(index: int, problem: Problem) -> BatchItem:
    return BatchItem(index=index, status=problem.status, problem=problem.document())
