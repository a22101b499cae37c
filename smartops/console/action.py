"""The page of one action: its decisions, change, verification and timeline. It takes a constant number of queries."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.db.models import Q, TextField
from django.db.models.functions import Cast, Left
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from orchestrator.models import Action, AuditEvent
from smartops import queries
from smartops.console.action_acts import possible
from smartops.console.actions import ActionFilter, address, visible
from smartops.console.listing import around
from smartops.console.pages import ConsoleRequest, page

MAX_PAYLOAD = 16_384  # characters


@page
def action(request: ConsoleRequest, pk: UUID) -> HttpResponse:
    payload = Left(Cast("signal__payload", TextField()), MAX_PAYLOAD + 1)  # a body may have a megabyte
    rows = queries.actions().select_related("signal").defer("signal__payload").annotate(payload=payload)
    row: Any = get_object_or_404(rows.filter(visible(request)), pk=pk)
    about = Q(action=row) | Q(signal=row.signal_id, action=None) if row.signal_id else Q(action=row)
    decisions = list(queries.decisions(about).reverse())
    context: dict[str, Any] = {"action": row, "timeline": list(_timeline(row)), "decisions": decisions}
    seen = Action.objects.filter(visible(request)).only("pk")
    context |= {"around": around(request, ActionFilter, seen, row, "console:actions", address)}
    context |= {"payload": _shown(row.payload or ""), "acts": list(possible(request, row))}
    return render(request, "console/action.html", context)


def _shown(payload: str) -> str:
    """With line breaks; the beginning of one that is too long to be read."""
    if len(payload) > MAX_PAYLOAD:
        return f"{payload[:MAX_PAYLOAD]}… (the first {MAX_PAYLOAD} characters; the API has the rest)"
    return json.dumps(json.loads(payload), indent=2, ensure_ascii=False) if payload else ""


def _timeline(row: Action) -> Iterator[tuple[AuditEvent, timedelta | None]]:
    """Each event with the time since the one before it; None for the first."""
    events = list(row.events.all())
    yield from ((event, None) for event in events[:1])
    yield from ((event, event.at - before.at) for before, event in pairwise(events))
