"""The aliases: the list in the order in which they are tried, names that stand for no workload, one alias and its
form."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Max, Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from signals.aliases import Alias
from signals.identity import alias_for
from signals.lib.edited_admin import EditedForm
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Source
from signals.unidentified import UNIDENTIFIED
from smartops.console import deletions, filters, listing, tuning, versions
from smartops.console.pages import ConsoleRequest, act, page
from smartops.console.tuned import Tuned
from smartops.people.access import Right

COMPARED, SHOWN = 1000, 50  # unidentified signals, and names that are shown
ORDER = ("priority", "pk")
FIELDS = (
    *("pattern", "source", "cluster", "namespace"),
    *("kind", "to_namespace", "workload", "enabled", "priority"),
)


def matched(request: ConsoleRequest, row: Alias) -> Mapping[str, Any]:
    """The names of unidentified signals that the alias would identify now."""
    rows = Signal.pending().filter(request.access.visible(), UNIDENTIFIED).defer("payload").order_by("-pk")[:COMPARED]
    found = list(dict.fromkeys((one.namespace, one.workload) for one in rows if alias_for(one.named, [row.spec()])))
    return {"matched": found[:SHOWN], "more_matched": len(found) > SHOWN}


ALIASES = Tuned(
    model=Alias,
    form=EditedForm,
    fields=FIELDS,
    name="alias",
    screen="aliases",
    decides=False,
    facts=matched,
)


class AliasFilter(filters.Filter):
    q = filters.search()
    source = filters.choice("source", "All sources", [(one.value, one.value) for one in Source], label="Source")
    enabled = filters.choice("enabled", "All", [("True", "Enabled"), ("False", "Disabled")], label="Enabled")
    cluster = filters.cluster()
    namespace = filters.namespace()

    def search(self, rows: "QuerySet[Alias]", _: str, text: str) -> "QuerySet[Alias]":
        """A part of the pattern or of the name of the workload."""
        return rows.filter(pattern__icontains=text) | rows.filter(workload__icontains=text)


@page
def aliases(request: ConsoleRequest) -> HttpResponse:
    rows = Alias.objects.filter(ALIASES.visible(request.access))
    context = {
        "listing": listing.named(request, AliasFilter, rows, ORDER),
        "unidentified": unidentified(request),
        "may_tune": request.access.has(Right.TUNE),
    }
    return render(request, "console/aliases.html", context)


def unidentified(request: ConsoleRequest) -> list[dict[str, Any]]:
    """Names that stand for no workload, those with the latest reports first. `labels`: of the signals that have the
    name by a label."""
    waiting = Signal.pending().filter(request.access.visible(), UNIDENTIFIED).order_by()
    names = waiting.values("source", "cluster", "namespace", "workload")
    labels = ArrayAgg("named_by", filter=~Q(named_by=""), distinct=True)
    found = names.annotate(signals=Count("pk"), last=Max("last_seen_at"), labels=labels).order_by("-last")[:SHOWN]
    return [one | {"href": _signals_of(one)} for one in found]


def _signals_of(one: Mapping[str, Any]) -> str:
    names = {"name" if column == "workload" else column: one[column] for column in ("cluster", "namespace", "workload")}
    query = {"state": SignalState.PENDING, "reason": Reason.TARGET_UNIDENTIFIED, "source": one["source"], **names}
    return f"{reverse('console:signals')}?{urlencode(query)}"


@page
def alias(request: ConsoleRequest, pk: int) -> HttpResponse:
    row = ALIASES.find(request, pk)
    context = {
        "row": row,
        "around": ALIASES.around(request, AliasFilter, row, ORDER),
        "versions": versions.newest(request, ALIASES, row),
        "may_tune": ALIASES.may_tune(request.access, row),
        **matched(request, row),
    }
    return render(request, "console/alias.html", context)


@act(Right.TUNE)
def add(request: ConsoleRequest) -> HttpResponseBase:
    given = {name: request.GET[name] for name in FIELDS if request.GET.get(name)}
    return tuning.edit(request, ALIASES, initial=given)


@act(Right.TUNE)
def change(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return tuning.edit(request, ALIASES, pk)


@act(Right.TUNE)
def delete(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.delete(request, ALIASES, pk)


@page
def deleted(request: ConsoleRequest) -> HttpResponse:
    return deletions.deleted(request, ALIASES)


@act(Right.TUNE)
def restore(request: ConsoleRequest, change: int) -> HttpResponseBase:
    return deletions.restore(request, ALIASES, change)


@act(Right.TUNE)
def revert(request: ConsoleRequest, pk: int, change: int) -> HttpResponseBase:
    return versions.revert(request, ALIASES, pk, change)


@act(Right.TUNE)
def enable(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.switch(request, ALIASES, pk, on=True)


@act(Right.TUNE)
def disable(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.switch(request, ALIASES, pk, on=False)
