"""The read side for people: what is done, what is not done, and why. Each page takes a constant number of queries."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import wraps
from itertools import pairwise
from typing import Any
from uuid import UUID

from csp.decorators import csp_update
from django import forms
from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from guardrails.models import Freeze
from orchestrator.models import ACTIVE, Action, ActionState, AuditEvent, DecisionRecord, Workload
from signals.models import Signal, SignalState

PAGE = 50
HELD_BACK = 12
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOT_PURSUED = (SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED)

S = ActionState
View = Callable[..., HttpResponseBase]


def reader(view: View) -> View:
    """Whoever is signed in may read. A page that fetches itself anew cannot follow a redirect: it is told where to."""

    @require_safe
    @csp_update({"require-trusted-types-for": ["'script'"], "trusted-types": ["smartops"]})
    @wraps(view)
    def page(request: HttpRequest, **where: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, **where)
        login = redirect_to_login(request.get_full_path())
        return (
            HttpResponse(status=401, headers={"HX-Redirect": login.url}) if "HX-Request" in request.headers else login
        )

    return page


class Filter(forms.Form):
    """What is not valid does not filter."""

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
    newest = Action.objects.select_related("workload", "signal", "verification").defer("signal__payload")
    rows = list(chosen.apply(newest.order_by("-pk"))[: PAGE + 1])
    older = None
    if len(rows) > PAGE:
        query = request.GET.copy()
        query["before"] = str(rows[PAGE - 1].pk)
        older = f"?{query.urlencode()}"
    context = {
        "chosen": chosen,
        "actions": rows[:PAGE],
        "older": older,
        "freezes": Freeze.objects.filter(Q(until=None) | Q(until__gt=now)),
        "held_back": _held_back(now).order_by("-pk").defer("payload")[:HELD_BACK],
        "counts": _counts(now),
    }
    return render(request, "console/actions.html", _common() | context)


@reader
def action(request: HttpRequest, pk: UUID) -> HttpResponse:
    row = get_object_or_404(Action.objects.select_related("workload", "signal", "verification"), pk=pk)
    about = Q(action=row) | Q(signal=row.signal_id, action=None) if row.signal_id else Q(action=row)
    decisions = list(DecisionRecord.objects.filter(about).defer("inputs").order_by("-pk"))
    context = {"action": row, "timeline": list(_timeline(row)), "decisions": decisions}
    return render(request, "console/action.html", _common() | context)


def _common() -> dict[str, Any]:
    return {"cluster": settings.SMARTOPS_CLUSTER, "cluster_note": settings.SMARTOPS_CLUSTER_NOTE}


def _held_back(now: datetime) -> QuerySet[Signal]:
    """The last day's signals that wait for something, or led to nothing."""
    waiting = Q(state=SignalState.PENDING) & ~Q(reason="")
    return Signal.objects.filter(waiting | Q(state__in=NOT_PURSUED), pk__gte=_first_id(now - DAY))


def _counts(now: datetime) -> dict[str, int]:
    """Active ones of any age; outcomes of what was begun within the hour; signals held back within the day."""
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
    """The smallest version 7 UUID of that moment: ids are the index on time."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def _timeline(row: Action) -> Iterator[tuple[AuditEvent, timedelta | None]]:
    """Each event with the time since the one before it."""
    events = list(row.events.all())
    yield from ((event, None) for event in events[:1])
    yield from ((event, event.at - before.at) for before, event in pairwise(events))
