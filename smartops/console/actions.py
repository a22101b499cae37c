"""The overview: actions, and the signals that led to none. It takes a constant number of queries."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from guardrails.models import Freeze
from orchestrator.models import ACTIVE, Action, ActionState, Workload
from signals.models import Signal, SignalState
from smartops import queries
from smartops.console.pages import reader

PAGE = 50
HELD_BACK = 12
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOT_PURSUED = (SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED)

S = ActionState


class Filter(forms.Form):
    """A parameter that is not valid is ignored."""

    state = forms.ChoiceField(
        required=False, choices=[("", "All states"), ("active", "Active"), *((s.value, s.label) for s in S)]
    )
    namespace = forms.ChoiceField(required=False)
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any) -> None:
        super().__init__(data, label_suffix="")
        names = Workload.objects.order_by("namespace").values_list("namespace", flat=True).distinct()
        self.fields["namespace"].choices = [("", "All namespaces"), *((name, name) for name in names)]  # type: ignore[attr-defined]
        self.is_valid()

    def apply(self, rows: QuerySet[Action]) -> QuerySet[Action]:
        if state := self.cleaned_data.get("state"):
            rows = rows.filter(state__in=ACTIVE if state == "active" else [state])
        if namespace := self.cleaned_data.get("namespace"):
            rows = rows.filter(workload__namespace=namespace)
        if before := self.cleaned_data.get("before"):
            rows = rows.filter(pk__lt=before)
        return rows


@reader
def actions(request: HttpRequest) -> HttpResponse:
    now, chosen = timezone.now(), Filter(request.GET)
    newest = queries.actions().select_related("signal").defer("signal__payload").order_by("-pk")
    rows = list(chosen.apply(newest)[: PAGE + 1])
    older = None
    if len(rows) > PAGE:
        query = request.GET.copy()
        query["before"] = str(rows[PAGE - 1].pk)
        older = f"?{query.urlencode()}"
    context = {
        "chosen": chosen,
        "actions": rows[:PAGE],
        "older": older,
        "freezes": Freeze.in_force(),
        "held_back": _held_back(now).order_by("-pk").defer("payload")[:HELD_BACK],
        "counts": _counts(now),
    }
    return render(request, "console/actions.html", context)


def _held_back(now: datetime) -> QuerySet[Signal]:
    """Signals of the last 24 hours that are deferred or were refused, ignored or failed."""
    waiting = Q(state=SignalState.PENDING) & ~Q(reason="")
    return Signal.objects.filter(waiting | Q(state__in=NOT_PURSUED), pk__gte=_first_id(now - DAY))


def _counts(now: datetime) -> dict[str, int]:
    """Active actions of any age, outcomes of actions created within the last hour, signals of the last 24 hours."""
    outcomes = {"succeeded": [S.SUCCEEDED], "unsuccessful": [S.FAILED, S.TIMED_OUT]}
    states = {"active": ACTIVE, "verifying": [S.VERIFYING], "needs_review": [S.NEEDS_REVIEW]}
    begun = Q(pk__gte=_first_id(now - HOUR))
    counts = {name: Count("pk", filter=Q(state__in=these)) for name, these in states.items()}
    counts |= {name: Count("pk", filter=begun & Q(state__in=these)) for name, these in outcomes.items()}
    deferred = Count("pk", filter=Q(state=SignalState.PENDING))
    refused = Count("pk", filter=Q(state=SignalState.DENIED))
    return {
        **Action.objects.filter(Q(state__in=ACTIVE) | begun).aggregate(**counts),
        **_held_back(now).aggregate(deferred=deferred, refused=refused),
    }


def _first_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of that moment: the primary key is the index on time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
