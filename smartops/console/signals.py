"""The list of signals: what was reported, and what became of it."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet, prefetch_related_objects
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Source
from signals.unidentified import UNIDENTIFIED
from smartops import queries
from smartops.console import filters, listing
from smartops.console.attention import waits_too_long
from smartops.console.held_back import page_state
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Access
from smartops.scan import Index, Places

DEFERRED = Q(state=SignalState.PENDING) & ~Q(reason="")
GROUPS = {
    "open": ("Open", Q(closed_at=None)),
    "deferred": ("Deferred", DEFERRED),
    "named": ("Pending, of a known workload", Q(state=SignalState.PENDING) & ~UNIDENTIFIED),
    "unpursued": ("Without an action", Q(state__in=(SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED))),
}
WAITING = "waiting"
PENDING = ("deferred", "named", WAITING)  # groups of pending signals


class SignalFilter(filters.HistoryFilter):
    q = filters.search()
    state = filters.choice(
        None,
        "All states",
        [*((name, label) for name, (label, _) in GROUPS.items()), (WAITING, "Waits too long"), *SignalState.choices],
        method="of_state",
    )
    reason = filters.choice("reason", "All reasons", [(one.value, one.value) for one in Reason])
    source = filters.choice("source", "All sources", [(one.value, one.value) for one in Source])
    since = filters.since()
    kind = filters.choice("kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = filters.cluster()
    namespace = filters.namespace()
    name = filters.name("workload")

    def search(self, rows: "QuerySet[Signal]", _: str, text: str) -> "QuerySet[Signal]":
        """An id, or a part of the name of a workload."""
        pk = filters.as_id(text)
        return rows.filter(pk=pk) if pk else rows.filter(workload__icontains=text)

    def of_state(self, rows: "QuerySet[Signal]", _: str, state: str) -> "QuerySet[Signal]":
        if state == WAITING:
            return rows.filter(waits_too_long(timezone.now()))
        return rows.filter(GROUPS[state][1] if state in GROUPS else queries.in_state(state))

    def places(self, names: Mapping[str, str]) -> Places | None:
        return queries.places_of_signals(self.request.access.visible(), names)

    def index(self, given: Mapping[str, Any]) -> Index:
        state, reason = given.get("state", ""), given.get("reason")
        if state in PENDING and not reason:
            return Index(queries.in_state(SignalState.PENDING))
        return queries.index_of_signals(state if state in SignalState else None, reason)


@page
def signals(request: ConsoleRequest) -> HttpResponse:
    rows = Signal.objects.filter(request.access.visible()).defer("payload")
    found = listing.listing(request, SignalFilter, rows)
    prefetch_related_objects(found.rows, queries.of_signals(found.rows))
    context = {"listing": found, "page_state": page_state(request.freezes, request.freshness)}
    return render(request, "console/signals.html", context)


def passing(parameters: QueryDict, access: Access) -> "QuerySet[Signal]":
    """The signals of the list at that address."""
    return listing.passing(SignalFilter, Signal.objects.filter(access.visible()), parameters, access)


def address(signal: Signal) -> str:
    return reverse("console:signal", args=[signal.pk])
