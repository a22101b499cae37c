"""Who allowed this, and on which facts: one decision with all that it was based on and led to. It prints well."""

import json
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from orchestrator.models import Action, DecisionRecord
from signals.models import Signal
from signals.proposals import PROPOSAL_TYPES
from signals.types import Kind, Target
from smartops import queries
from smartops.audit.basis import evaluate_again, limits_in_force, rule_change
from smartops.console.audit import around
from smartops.console.pages import ConsoleRequest, page

MAX_INPUTS = 200_000  # characters


@page
def decision(request: ConsoleRequest, pk: UUID) -> HttpResponse:
    """It takes a constant number of queries."""
    row = get_object_or_404(DecisionRecord.objects.filter(request.access.visible()), pk=pk)
    again, target = evaluate_again(row), Target(row.cluster, row.namespace, row.workload, Kind(row.kind))
    proposal, moment = again.proposal, row.created_at if again.inputs is None else again.inputs.now
    context: dict[str, Any] = {
        "decision": row,
        "target": target,
        "again": again,
        "what": PROPOSAL_TYPES[proposal.type].describe(proposal.params) if proposal else "",
        "justification": proposal.reason if proposal else "",
        "limits": limits_in_force(again.inputs, target) if again.inputs else [],
        "rule_change": rule_change(row, again.rule, moment),
        "signal": Signal.objects.defer("payload").filter(pk=row.signal_id).first() if row.signal_id else None,
        "inputs": json.dumps(row.inputs, indent=2, ensure_ascii=False)[:MAX_INPUTS],
        "address": request.build_absolute_uri(request.path),
        "now": timezone.now(),
        "around": around(request, row),
    }
    if row.action_id:
        context |= _of_action(row.action_id, row)
    return render(request, "console/evidence.html", context)


def _of_action(pk: UUID, row: DecisionRecord) -> dict[str, Any]:
    """What became of it. The retention may have ended the action before the decision."""
    action: Action | None = queries.actions().filter(pk=pk).first()
    if action is None:
        return {}
    return {
        "action": action,
        "approvals": list(action.approvals.all()),
        "timeline": list(action.events.all()),
        "others": list(queries.decisions(Q(action=pk) & ~Q(pk=row.pk))),
    }
