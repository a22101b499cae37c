"""The overview: actions, and the signals that led to none. It takes a constant number of queries.

A number on the page is the count of the very condition that the list applies behind its link.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone

from orchestrator.models import ACTIVE, Action, ActionState, Workload
from signals.lib.partitions import first_id
from signals.models import Signal, SignalState
from signals.types import Kind
from signals.unresolved import UNRESOLVED
from smartops import queries
from smartops.console.pages import ConsoleRequest, page

PAGE = 50
HELD_BACK = 12
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOT_PURSUED = (SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED)

S = ActionState
STATES = {
    "active": ACTIVE,
    "unsuccessful": [S.FAILED, S.TIMED_OUT],
    **{state.value: [state] for state in S},
}
SINCE = {"hour": HOUR, "day": DAY}


class Filter(forms.Form):
    """A parameter that is not valid is ignored."""

    state = forms.ChoiceField(
        required=False,
        choices=[
            ("", "All states"), ("active", "Active"), ("unsuccessful", "Failed or timed out"),
            *((s.value, s.label) for s in S),
        ],
    )  # fmt: skip
    since = forms.ChoiceField(
        required=False, label="Created", choices=[("", "At any time"), ("hour", "Last hour"), ("day", "Last 24 hours")]
    )
    kind = forms.ChoiceField(required=False, choices=[("", "All kinds"), *((k.value, k.value) for k in Kind)])
    namespace = forms.ChoiceField(required=False)
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)
    signals = forms.ChoiceField(
        required=False,
        widget=forms.HiddenInput,
        choices=[(name, name) for name in ("", "deferred", "unresolved", "refused")],
    )
    signals_before = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any) -> None:
        super().__init__(data, label_suffix="")
        names = Workload.objects.order_by("namespace").values_list("namespace", flat=True).distinct()
        self.fields["namespace"].choices = [("", "All namespaces"), *((name, name) for name in names)]  # type: ignore[attr-defined]
        self.is_valid()


@dataclass(frozen=True, slots=True)
class Tile:
    """A number with its link. `tone` is its colour if it is not 0."""

    label: str
    note: str
    query: Mapping[str, str]
    tone: str = ""
    count: int = 0

    @property
    def href(self) -> str:
        return f"?{urlencode(self.query)}" + ("#held-back" if "signals" in self.query else "")


TILES = (
    Tile("active", "", {"state": "active"}),
    Tile("verifying", "", {"state": "verifying"}),
    Tile("needs review", "", {"state": "needs_review"}, "warn"),
    Tile("succeeded", "last hour", {"state": "succeeded", "since": "hour"}),
    Tile("failed", "or timed out, last hour", {"state": "unsuccessful", "since": "hour"}, "bad"),
    Tile("signals deferred", "", {"signals": "deferred"}),
    Tile("unresolved names", "", {"signals": "unresolved"}, "warn"),
    Tile("refused", "last 24 hours", {"signals": "refused"}),
)


@page
def overview(request: ConsoleRequest) -> HttpResponse:
    now, chosen = timezone.now(), Filter(request.GET)
    wanted = chosen.cleaned_data
    newest = queries.actions().select_related("signal").defer("signal__payload", "details", "change")
    rows, older = _page(request, newest.filter(of_actions(wanted, now)), "before", wanted.get("before"), PAGE)
    signals = Signal.objects.defer("payload").filter(of_signals(wanted, now))
    held_back, older_signals = _page(
        request, signals, "signals_before", wanted.get("signals_before"), HELD_BACK, "#held-back"
    )
    context = {
        "chosen": chosen,
        "actions": rows,
        "older": older,
        "held_back": held_back,
        "older_signals": older_signals,
        "tiles": list(tiles(now)),
    }
    return render(request, "console/overview.html", context)


def of_actions(wanted: Mapping[str, Any], now: datetime) -> Q:
    """The condition of a filter, or of a tile's query."""
    where = Q()
    if state := wanted.get("state"):
        where &= Q(state__in=STATES[state])
    if since := wanted.get("since"):
        where &= Q(pk__gte=first_id(now - SINCE[since]))
    if kind := wanted.get("kind"):
        where &= Q(workload__kind=kind)
    if namespace := wanted.get("namespace"):
        where &= Q(workload__namespace=namespace)
    return where


def of_signals(wanted: Mapping[str, Any], now: datetime) -> Q:
    """Signals that are deferred, of any age, and those of the last 24 hours that were refused, ignored or failed."""
    deferred = Q(state=SignalState.PENDING) & ~Q(reason="")
    recent = Q(pk__gte=first_id(now - DAY))
    match wanted.get("signals"):
        case "deferred":
            return deferred
        case "unresolved":
            return UNRESOLVED
        case "refused":
            return Q(state=SignalState.DENIED) & recent
    return deferred | Q(state__in=NOT_PURSUED) & recent


def tiles(now: datetime) -> list[Tile]:
    """With their counts, in three queries: two of actions, one of signals."""
    found: dict[str, int] = {}
    recent = ((Action.recent(), of_actions, False), (Signal.objects.all(), of_signals, True))
    for rows, of_model, names_signals in recent:
        own = {tile.label: of_model(tile.query, now) for tile in TILES if ("signals" in tile.query) is names_signals}
        found |= _counts(rows, own)
    return [Tile(tile.label, tile.note, tile.query, tile.tone, found[tile.label]) for tile in TILES]


def _counts(rows: "QuerySet[Any]", conditions: Mapping[str, Q]) -> dict[str, int]:
    counted = {f"n{place}": Count("pk", filter=where) for place, where in enumerate(conditions.values())}
    counts = rows.filter(reduce(or_, conditions.values())).aggregate(**counted)
    return {name: counts[f"n{place}"] for place, name in enumerate(conditions)}


def _page(
    request: HttpRequest, rows: "QuerySet[Any]", parameter: str, before: UUID | None, size: int, anchor: str = ""
) -> tuple[list[Model], str | None]:
    """The newest rows, or those before an id, and the link to the next page."""
    if before:
        rows = rows.filter(pk__lt=before)
    found = list(rows.order_by("-pk")[: size + 1])
    if len(found) <= size:
        return found, None
    query: QueryDict = request.GET.copy()
    query[parameter] = str(found[size - 1].pk)
    return found[:size], f"?{query.urlencode()}{anchor}"
