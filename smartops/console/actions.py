"""The list of actions."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from orchestrator.acts.freezes import WAITING
from orchestrator.models import ACTIVE, Action, ActionState, VerificationStatus
from orchestrator.models.transitions import VERIFIED_AS
from signals.types import ActionType, Kind, Origin
from smartops import queries
from smartops.console import filters, listing
from smartops.console.attention import FAILED, failed_lately, unseen
from smartops.console.held_back import page_state
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Access
from smartops.scan import Index, Places

S = ActionState
GROUPS = {
    "active": ("Active", ACTIVE),
    "waiting": ("Not begun", WAITING),
    "unsuccessful": ("Failed or timed out", FAILED),
}
UNSEEN = "unseen"


class ActionFilter(filters.HistoryFilter):
    q = filters.search()
    state = filters.choice(
        None,
        "All states",
        [*((name, label) for name, (label, _) in GROUPS.items()), (UNSEEN, "Failed, opened by nobody"), *S.choices],
        method="of_state",
    )
    verification = filters.choice("verification__status", "Any verification", VerificationStatus.choices)
    type = filters.choice("type", "All types", [(one.value, one.value) for one in ActionType])
    since = filters.since()
    kind = filters.choice("workload__kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = filters.cluster()
    namespace = filters.namespace("workload__namespace")
    name = filters.name("workload__name")
    origin = filters.choice("origin", "All", [(Origin.CLOSED_LOOP, "Closed loop"), (Origin.DIRECT, "Direct")])

    workload = "workload__"

    def search(self, rows: "QuerySet[Action]", _: str, text: str) -> "QuerySet[Action]":
        """An id, or a part of the name of a workload."""
        pk = filters.as_id(text)
        return rows.filter(pk=pk) if pk else rows.filter(workload__name__icontains=text)

    def of_state(self, rows: "QuerySet[Action]", _: str, state: str) -> "QuerySet[Action]":
        return rows.filter(unseen(timezone.now()) if state == UNSEEN else queries.in_states(states_of(state)))

    def places(self, names: Mapping[str, str]) -> Places | None:
        return queries.places_of_actions(self.request.access.visible(), names)

    def index(self, given: Mapping[str, Any]) -> Index:
        state, verification = given.get("state"), given.get("verification")
        if state == UNSEEN:
            return Index(failed_lately(timezone.now()))
        if state:
            return Index(queries.in_states(states_of(state)), ("state",))
        return Index(queries.in_states([VERIFIED_AS[verification]])) if verification else Index()

    def keys(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        return ("pk", "verification__pk") if "verification" in given else ("pk",)


def states_of(chosen: str) -> Collection[str]:
    return GROUPS[chosen][1] if chosen in GROUPS else (chosen,)


@page
def actions(request: ConsoleRequest) -> HttpResponse:
    rows = queries.shown_actions().filter(visible(request.access))
    found = listing.listing(request, ActionFilter, rows.defer("details", "change"))
    context = {"listing": found, "page_state": page_state(request.freezes, request.freshness)}
    return render(request, "console/actions.html", context)


def passing(parameters: QueryDict, access: Access) -> "QuerySet[Action]":
    """The actions of the list at that address."""
    return listing.passing(ActionFilter, Action.objects.filter(visible(access)), parameters, access)


def visible(access: Access) -> Q:
    return access.visible(cluster="cluster", namespace="workload__namespace")


def address(action: Action) -> str:
    return reverse("console:action", args=[action.pk])
