"""The page of one signal: what became of it and why, who reported it, and which workload its name stands for. It takes
a constant number of queries."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from signals.models import Signal
from smartops import queries
from smartops.console import timeline
from smartops.console.action import DECISIONS
from smartops.console.held_back import page_state
from smartops.console.listing import around
from smartops.console.pages import ConsoleRequest, page
from smartops.console.payload import beginning, shown
from smartops.console.signals import SignalFilter, address
from smartops.console.workload_acts import of_target
from smartops.people.access import Right

OBSERVATIONS = 50  # the newest ones are shown


@page
def signal(request: ConsoleRequest, pk: UUID) -> HttpResponse:
    seen = Signal.objects.filter(request.access.visible())
    row: Any = get_object_or_404(seen.defer("payload").annotate(beginning=beginning("payload")), pk=pk)
    observations = list(row.observations.defer("payload").order_by("-pk")[: OBSERVATIONS + 1])
    decisions = list(queries.decisions(Q(signal=row)).reverse()[:DECISIONS])
    actions = list(queries.actions().filter(signal=row).order_by("-pk"))
    context = {
        "signal": row,
        "around": around(request, SignalFilter, seen.only("pk"), row, "console:signals", address),
        "actions": actions,
        "page_state": page_state(request.freezes, request.freshness),
        "decisions": decisions,
        "observations": observations[:OBSERVATIONS],
        "more_observations": len(observations) > OBSERVATIONS,
        "timeline": timeline.in_order(
            timeline.of_signal(row), timeline.of_decisions(decisions), timeline.of_actions(actions)
        ),
        "payload": shown(row.beginning),
        "acts": [] if row.needs_identification else list(of_target(request, row.target)),
        "may_alias": request.access.may_change(Right.TUNE, row.target),
    }
    return render(request, "console/signal.html", context)
