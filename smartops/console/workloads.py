"""The list of workloads, from the snapshot that reconcilers store."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from guardrails.models import Cooldown, Freeze
from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import Action, ObservedWorkload, Workload
from signals.types import Kind, Target
from smartops.console import filters, listing
from smartops.console.held_back import HeldBack, PageState, of_workload, page_state
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Access

ORDER = ("cluster", "namespace", "name", "kind")  # of the unique index
CONDITIONS = (("held", "Held or frozen"), ("cooldown", "In a cooldown"), ("unhealthy", "Unhealthy"))


class WorkloadFilter(filters.Filter):
    suggested = ObservedWorkload

    q = filters.search()
    condition = filters.choice(None, "All conditions", CONDITIONS, label="Condition", method="of_condition")
    kind = filters.choice("kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = filters.cluster()
    namespace = filters.namespace()

    def search(self, rows: "QuerySet[ObservedWorkload]", _: str, text: str) -> "QuerySet[ObservedWorkload]":
        """A part of the name; with a slash, the namespace and the name."""
        namespace, slash, name = text.rpartition("/")
        return rows.filter(name__icontains=name, **{"namespace__icontains": namespace} if slash else {})

    def of_condition(self, rows: "QuerySet[ObservedWorkload]", _: str, name: str) -> "QuerySet[ObservedWorkload]":
        if name == "unhealthy":
            return rows.filter(ObservedWorkload.unhealthy())
        return rows.filter(**{"frozen" if name == "held" else "cooling": True})


@page
def workloads(request: ConsoleRequest) -> HttpResponse:
    found = listing.named(request, WorkloadFilter, observed(request.access), ORDER)
    held_back = _held_back(found.rows, page_state(request.freezes, request.freshness))
    for row in found.rows:
        row.held_back = held_back[row.pk]  # type: ignore[attr-defined]
    return render(request, "console/workloads.html", {"listing": found})


def _held_back(rows: Sequence[ObservedWorkload], known: PageState) -> dict[Any, tuple[HeldBack, ...]]:
    """By the id of the row: what holds the closed loop back from the workload. Four queries."""
    within = {f"{name}__in": {getattr(row, name) for row in rows} for name in ("cluster", "namespace", "kind")}
    names = {row.name for row in rows}
    ids = {row.target: row.pk for row in Workload.objects.filter(**within, name__in=names)}
    histories = load_history([Wanted(row.target, ids.get(row.target)) for row in rows])
    cooldowns: dict[Target, list[Cooldown]] = defaultdict(list)
    for one in Cooldown.objects.filter(**within, workload__in=names, until__gt=Now()).order_by("until"):
        cooldowns[Target(one.cluster, one.namespace, one.workload, Kind(one.kind))].append(one)
    active = Action.objects.in_bulk([UUID(one.active_action) for one in histories if one.active_action])
    actions = {str(pk): one for pk, one in active.items()}
    return {
        row.pk: tuple(of_workload(row, history, cooldowns[row.target], actions.get(history.active_action), known))
        for row, history in zip(rows, histories, strict=True)
    }


def observed(access: Access) -> "QuerySet[ObservedWorkload]":
    """With what the filter asks for."""
    names = {"namespace": OuterRef("namespace"), "kind": OuterRef("kind"), "cluster": OuterRef("cluster")}
    cooldowns = Cooldown.objects.filter(workload=OuterRef("name"), until__gt=Now(), **names)
    rows = ObservedWorkload.objects.filter(access.visible())
    return rows.alias(frozen=Exists(Freeze.over_rows(name="name")), cooling=Exists(cooldowns)).defer("owners")


def address(cluster: str, kind: str, namespace: str, name: str) -> str:
    return reverse("console:workload", args=[cluster, kind, namespace, name])
