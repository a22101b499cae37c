"""The list of signals: what was reported, and what became of it."""

from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from orchestrator.models import Workload
from signals.models import Problem, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Source
from smartops import queries
from smartops.console import listing
from smartops.console.attention import waits_too_long
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Access

DEFERRED = Q(state=SignalState.PENDING) & ~Q(reason="")
GROUPS = {
    "open": ("Open", Q(closed_at=None)),
    "deferred": ("Deferred", DEFERRED),
    "unpursued": ("Without an action", Q(state__in=(SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED))),
}
WAITING = "waiting"


class SignalFilter(listing.Filter):
    q = listing.search()
    state = listing.choice(
        None,
        "All states",
        [*((name, label) for name, (label, _) in GROUPS.items()), (WAITING, "Waits too long"), *SignalState.choices],
        method="of_state",
    )
    reason = listing.choice("reason", "All reasons", [(one.value, one.value) for one in Reason])
    source = listing.choice("source", "All sources", [(one.value, one.value) for one in Source])
    since = listing.since()
    kind = listing.choice("kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = listing.cluster()
    namespace = listing.namespace()

    def search(self, rows: "QuerySet[Signal]", _: str, text: str) -> "QuerySet[Signal]":
        """An id, or a part of the name of a workload."""
        if pk := listing.as_id(text):
            return rows.filter(pk=pk)
        return rows.filter(_named(text))

    def of_state(self, rows: "QuerySet[Signal]", _: str, state: str) -> "QuerySet[Signal]":
        if state == WAITING:
            return rows.filter(waits_too_long(timezone.now()))
        return rows.filter(GROUPS[state][1] if state in GROUPS else Q(state=state))


@page
def signals(request: ConsoleRequest) -> HttpResponse:
    actions = queries.actions_of_signals()
    rows = (
        Signal.objects.filter(request.access.visible()).defer("payload").prefetch_related(Prefetch("actions", actions))
    )
    return render(request, "console/signals.html", {"listing": listing.listing(request, SignalFilter, rows)})


def passing(parameters: QueryDict, access: Access) -> "QuerySet[Signal]":
    """The signals of the list at that address."""
    return listing.passing(SignalFilter, Signal.objects.filter(access.visible()), parameters, access)


def address(signal: Signal) -> str:
    return reverse("console:signal", args=[signal.pk])


def _named(text: str) -> Q:
    """Signals of workloads with that part in their names. The few that match are looked up by the index of workloads;
    if many match, the newest signals have some of them soon."""
    found: set[tuple[Any, ...]] = set()
    for rows, name in ((Problem.objects, "workload"), (Workload.objects, "name")):
        matching = rows.filter(**{f"{name}__icontains": text}).values_list("cluster", "namespace", name)
        found |= set(matching.distinct()[: listing.FEW + 1])
    if len(found) > listing.FEW:
        return Q(workload__icontains=text)
    places = Q(pk__in=())
    for cluster, namespace, workload in found:
        places |= Q(cluster=cluster, namespace=namespace, workload=workload)
    return places
