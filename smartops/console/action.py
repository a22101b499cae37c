"""The page of one action: its decisions, change, verification and timeline. It takes a constant number of queries."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from orchestrator.models import Action, AuditEvent
from smartops import queries
from smartops.console.pages import reader


@reader
def action(request: HttpRequest, pk: UUID) -> HttpResponse:
    row = get_object_or_404(queries.actions().select_related("signal"), pk=pk)
    about = Q(action=row) | Q(signal=row.signal_id, action=None) if row.signal_id else Q(action=row)
    decisions = list(queries.decisions(about).reverse())
    context = {"action": row, "timeline": list(_timeline(row)), "decisions": decisions}
    return render(request, "console/action.html", context)


def _timeline(row: Action) -> Iterator[tuple[AuditEvent, timedelta | None]]:
    """Each event with the time since the one before it; None for the first."""
    events = list(row.events.all())
    yield from ((event, None) for event in events[:1])
    yield from ((event, event.at - before.at) for before, event in pairwise(events))
