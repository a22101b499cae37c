"""The page of one action: what was done, why, and what it led to. It takes a constant number of queries."""

from itertools import takewhile
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from orchestrator.models import Action, ActionState
from signals.types import ActionType
from smartops import queries
from smartops.console import kubectl, timeline
from smartops.console.action_acts import possible
from smartops.console.actions import ActionFilter, address, visible
from smartops.console.attention import is_unseen
from smartops.console.held_back import page_state
from smartops.console.listing import around
from smartops.console.pages import ConsoleRequest, page
from smartops.console.payload import beginning, shown
from smartops.console.workload_acts import following
from smartops.people.access import Right

DECISIONS = 20  # the newest ones are shown: a signal may be deferred many times
EARLIER = 5  # actions
UNSUCCESSFUL = (ActionState.FAILED, ActionState.TIMED_OUT)


@page
def action(request: ConsoleRequest, pk: UUID) -> HttpResponse:
    seen = Action.objects.filter(visible(request.access))
    rows = queries.actions().filter(visible(request.access)).select_related("signal").defer("signal__payload")
    row: Any = get_object_or_404(rows.annotate(beginning=beginning("signal__payload")), pk=pk)
    decisions = _decisions(row)
    moments = timeline.in_order(
        timeline.of_signal(row.signal) if row.signal else (),
        timeline.of_decisions(decisions),
        timeline.of_events(row.events.all()),
    )
    earlier = list(_same_before(row))
    context = {
        "action": row,
        "around": around(request, ActionFilter, seen.only("pk"), row, "console:actions", address),
        "decisions": decisions,
        "timeline": moments,
        "payload": shown(row.beginning),
        "earlier": earlier,
        "failed_before": len(list(takewhile(lambda one: one.state in UNSUCCESSFUL, earlier))),
        "kubectl": _kubectl(row),
        "page_state": page_state(request.freezes, request.freshness),
        "acts": [*possible(request, row), *following(request, row)],
        "is_unseen": request.access.may_change(Right.ACT, row.workload.target) and is_unseen(row, timezone.now()),
    }
    return render(request, "console/action.html", context)


def _decisions(row: Action) -> list[Any]:
    """Newest first; also those on its signal that led to no action."""
    about = Q(action=row) | Q(signal=row.signal_id, action=None) if row.signal_id else Q(action=row)
    return list(queries.decisions(about).reverse()[:DECISIONS])


def _same_before(row: Action) -> Any:
    """The last actions of this type on the workload before this one that have ended: newest first."""
    same = Action.objects.filter(workload=row.workload_id, type=row.type, dry_run=False, pk__lt=row.pk)
    ended = same.filter(finished_at__isnull=False).order_by("-pk")
    return ended.only("pk", "state", "reason", "message", "finished_at", "type")[:EARLIER]


def _kubectl(row: Action) -> str:
    """Empty until the change is planned."""
    if row.change is None:
        return ""
    return kubectl.command(ActionType(row.type), row.workload.target, row.change, row.dry_run)
