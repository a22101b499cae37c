"""`/v1/reports`: when each problem was last reported, and how often, also where no report has opened a signal."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from ninja import Query, Router
from pydantic import Field

from signals import actors
from signals.models import Problem
from signals.names import ClusterName, Namespace, SubjectName, Text, WorkloadKind
from signals.types import Kind, Source
from smartops.api.pagination import Page, PageQuery, next_page
from smartops.api.principals import AuthenticatedRequest, BearerToken, readable
from smartops.api.problems import require_known
from smartops.api.views import ProblemView
from smartops.tokens import Scope

router = Router(tags=["signals"], auth=BearerToken(write=Scope.SIGNALS_WRITE))


class ReportsView(ProblemView):
    source: Source
    cluster: str
    kind: Kind
    namespace: str
    workload: str = Field(description="The workload, or the name that the detector uses.")
    symptom: str
    signal: UUID | None = Field(description="The signal on which reports are counted now.")

    @classmethod
    def of(cls, problem: Problem) -> "ReportsView":
        named = ("source", "cluster", "kind", "namespace", "workload", "symptom")
        fields: dict[str, Any] = {name: getattr(problem, name) for name in named} | ProblemView.report_counts(problem)
        return cls(signal=problem.signal_id, **fields)


class ReportsQuery(PageQuery):
    source: Source | None = None
    cluster: ClusterName | None = None
    kind: WorkloadKind | None = None
    namespace: Namespace | None = None
    workload: SubjectName | None = None
    token: Annotated[Text, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The name of the token that has posted the last report of either kind."
    )


@router.get("/reports", response=Page[ReportsView], summary="List how often and when each problem was reported")
def list_reports(request: AuthenticatedRequest, query: Query[ReportsQuery]) -> Page[ReportsView]:
    """The order is stable, and is not chronological. A problem is one symptom of one workload, as one kind of source
    reports it."""
    rows = readable(Problem.objects.all(), request.auth, query.namespace, "namespace")
    rows = rows.filter(**query.model_dump(include={"source", "cluster", "kind", "workload"}, exclude_none=True))
    if query.token is not None:
        actor = actors.token(query.token)
        rows = rows.filter(Q(firing_by=actor) | Q(healthy_by=actor))
    require_known(request.GET, ReportsQuery.model_fields)
    if query.after is not None:
        rows = rows.filter(pk__gt=query.after.hex)
    found = list(rows.order_by("pk")[: query.limit + 1])
    more = len(found) > query.limit
    following = next_page(request, UUID(found[query.limit - 1].pk)) if more else None
    return Page(items=[ReportsView.of(row) for row in found[: query.limit]], next=following)
