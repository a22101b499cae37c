"""The list of actions."""

from django.db.models import Q, QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from orchestrator.models import ACTIVE, Action, ActionState, VerificationStatus, Workload
from signals.types import ActionType, Kind
from smartops import queries
from smartops.console import listing
from smartops.console.attention import FAILED, unseen
from smartops.console.pages import ConsoleRequest, page
from smartops.people.access import Access

S = ActionState
GROUPS = {"active": ("Active", ACTIVE), "unsuccessful": ("Failed or timed out", FAILED)}
UNSEEN = "unseen"


class ActionFilter(listing.Filter):
    q = listing.search()
    state = listing.choice(
        None,
        "All states",
        [*((name, label) for name, (label, _) in GROUPS.items()), (UNSEEN, "Failed, opened by nobody"), *S.choices],
        method="of_state",
    )
    verification = listing.choice("verification__status", "Any verification", VerificationStatus.choices)
    type = listing.choice("type", "All types", [(one.value, one.value) for one in ActionType])
    since = listing.since()
    kind = listing.choice("workload__kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = listing.cluster()
    namespace = listing.namespace("workload__namespace")

    def search(self, rows: "QuerySet[Action]", _: str, text: str) -> "QuerySet[Action]":
        """An id, or a part of the name of a workload."""
        if pk := listing.as_id(text):
            return rows.filter(pk=pk)
        found = Workload.objects.filter(name__icontains=text)
        few = list(found.values_list("pk", flat=True)[: listing.FEW + 1])
        return rows.filter(workload__in=few if len(few) <= listing.FEW else found)

    def of_state(self, rows: "QuerySet[Action]", _: str, state: str) -> "QuerySet[Action]":
        if state == UNSEEN:
            return rows.filter(unseen(timezone.now()))
        _, states = GROUPS.get(state, ("", (state,)))
        return rows.filter(state__in=states)


@page
def actions(request: ConsoleRequest) -> HttpResponse:
    rows = queries.actions().filter(visible(request.access)).select_related("signal")
    found = listing.listing(request, ActionFilter, rows.defer("signal__payload", "details", "change"))
    return render(request, "console/actions.html", {"listing": found})


def passing(parameters: QueryDict, access: Access) -> "QuerySet[Action]":
    """The actions of the list at that address."""
    return listing.passing(ActionFilter, Action.objects.filter(visible(access)), parameters, access)


def visible(access: Access) -> Q:
    return access.visible(cluster="cluster", namespace="workload__namespace")


def address(action: Action) -> str:
    return reverse("console:action", args=[action.pk])
