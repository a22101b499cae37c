"""`/v1/aliases`: which workloads the names of detectors stand for, and what an alias would match. The admin edits
them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from ninja import Query, Router
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from signals.aliases import Alias
from signals.identity import alias_for
from signals.models import Signal
from signals.names import ClusterName, Namespace, SubjectName
from signals.patterns import MAX_PATTERN, matches, pattern_problem
from signals.types import Kind, Named, Source
from signals.unidentified import UNIDENTIFIED
from smartops.api.principals import AuthenticatedRequest, BearerToken, readable, require_namespace
from smartops.api.problems import invalid, require_known
from smartops.tokens import Principal, Scope

router = Router(tags=["aliases"], auth=BearerToken(write=Scope.ACTIONS_WRITE))

MAX_MATCHES = 100
OrNull = BeforeValidator(lambda value: value or None)


class AliasView(BaseModel):
    """A source, cluster or namespace of null matches any; a `to_namespace` of null is the namespace of the signal."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    source: Annotated[Source | None, OrNull]
    cluster: Annotated[str | None, OrNull]
    namespace: Annotated[str | None, OrNull]
    pattern: str = Field(description="A regular expression of RE2 for the whole name.")
    kind: Kind
    to_namespace: Annotated[str | None, OrNull]
    workload: str
    priority: int = Field(description="Smaller is tried first.")
    enabled: bool


class Aliases(BaseModel):
    items: list[AliasView]


class UnidentifiedSignal(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: Source
    cluster: str
    namespace: str
    workload: str = Field(description="The name that the detector uses.")
    named_by: Annotated[str | None, OrNull] = Field(description="The label that the name is taken from.")
    count: int
    last_seen_at: datetime
    nearest: list[str]


class Match(BaseModel):
    alias: AliasView | None = Field(description="The first enabled alias that matches the name.")
    signals: list[UnidentifiedSignal] = Field(
        description=f"The unidentified signals that the name or pattern matches, the newest {MAX_MATCHES}."
    )


class MatchQuery(BaseModel):
    """Exactly one of `name` and `pattern`."""

    name: SubjectName | None = Field(None, description="What a detector calls its target.")
    pattern: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)] | None = Field(
        None, description="A regular expression of RE2, as an alias would have it."
    )
    source: Source | None = None
    cluster: ClusterName | None = None
    namespace: Namespace | None = None

    def require(self) -> None:
        """Raises ProblemDetails (422)."""
        if (self.name is None) is (self.pattern is None):
            raise invalid([{"loc": (), "msg": "Give either name or pattern"}], within=["query"])
        if self.pattern is not None and (problem := pattern_problem(self.pattern)):
            raise invalid([{"loc": ("pattern",), "msg": problem}])


@router.get("/aliases", response=Aliases, summary="List the aliases, in the order in which they are tried")
def list_aliases(request: AuthenticatedRequest) -> Aliases:
    require_known(request.GET, ())
    return Aliases(items=[AliasView.model_validate(alias) for alias in _visible(request.auth)])


@router.get("/aliases/match", response=Match, summary="Test which alias matches a name, or what a pattern would match")
def match_aliases(request: AuthenticatedRequest, query: Query[MatchQuery]) -> Match:
    require_known(request.GET, MatchQuery.model_fields)
    query.require()
    alias = _alias(request, query, query.name) if query.name is not None else None
    return Match(
        alias=None if alias is None else AliasView.model_validate(alias),
        signals=[UnidentifiedSignal.model_validate(row) for row in _unidentified(request, query)],
    )


def _alias(request: AuthenticatedRequest, query: MatchQuery, name: str) -> Alias | None:
    namespace = query.namespace or settings.SMARTOPS_NAMESPACE
    require_namespace(request.auth, namespace)
    named = Named(query.source or Source.ANOMALY, query.cluster or settings.SMARTOPS_CLUSTER, namespace, name)
    rows = {alias.pk: alias for alias in _visible(request.auth) if alias.enabled}
    found = alias_for(named, [alias.spec() for alias in rows.values()])
    return None if found is None else rows[found.id]


def _unidentified(request: AuthenticatedRequest, query: MatchQuery) -> list[Signal]:
    rows = readable(Signal.pending().filter(UNIDENTIFIED).defer("payload"), request.auth, query.namespace, "namespace")
    rows = rows.filter(**query.model_dump(include={"source", "cluster"}, exclude_none=True)).order_by("-pk")
    if query.pattern is None:
        return list(rows.filter(workload=query.name)[:MAX_MATCHES])
    pattern = query.pattern
    return [row for row in rows[: 10 * MAX_MATCHES] if matches(pattern, row.workload)][:MAX_MATCHES]


def _visible(principal: Principal) -> list[Alias]:
    """Those that concern a namespace which the token covers."""
    rows = Alias.objects.all()
    if principal.namespaces:
        covered = ["", *principal.namespaces]
        rows = rows.filter(Q(namespace__in=covered) & Q(to_namespace__in=covered))
    return list(rows)
