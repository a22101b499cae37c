"""What waits for a decision of persons: the list, the page of one approval, and the acts Approve and Reject."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from guardrails.against import NEARBY, Earlier, Surroundings, headroom, reasons_against
from guardrails.risk import acknowledgement
from guardrails.types import RecentAction
from orchestrator.acts import Outcome
from orchestrator.acts import vote as acts
from orchestrator.acts.vote import approvers
from orchestrator.decide.approval import required
from orchestrator.decide.circumstances import circumstances
from orchestrator.decide.history import Wanted, load_history
from orchestrator.models import ACTIVE, FINAL, Action, ActionState, Vote, Workload
from signals.types import ActionType, Kind
from smartops import queries
from smartops.console import filters, listing
from smartops.console.actions import visible
from smartops.console.acts import ActForm, Confirmation, ReasonedForm, person, posted, respond
from smartops.console.held_back import HeldBack, PageState, of_approval, page_state
from smartops.console.pages import ConsoleRequest, act, page, require
from smartops.people.access import Access, Right
from smartops.people.approvals import may_decide, objection
from smartops.templatetags.console import headline

SHOWN = 5  # earlier actions, and actions nearby
ENDED = timedelta(days=1)


class ApprovalFilter(filters.Filter):
    q = filters.search()
    type = filters.choice("type", "All types", [(one.value, one.value) for one in ActionType])
    kind = filters.choice("workload__kind", "All kinds", [(one.value, one.value) for one in Kind], label="Kind")
    cluster = filters.cluster()
    namespace = filters.namespace("workload__namespace")

    def search(self, rows: "QuerySet[Action]", _: str, text: str) -> "QuerySet[Action]":
        """An id, or a part of the name of a workload."""
        if pk := filters.as_id(text):
            return rows.filter(pk=pk)
        return rows.filter(workload__in=Workload.objects.filter(name__icontains=text))


def waiting(access: Access) -> "QuerySet[Action]":
    """What a person may still decide on. What has expired is not among it, also before its state changes."""
    waits = Q(state=ActionState.AWAITING_APPROVAL, deadline_at__gt=Now())
    return queries.actions().filter(waits, visible(access))


def passing(parameters: QueryDict, access: Access) -> "QuerySet[Action]":
    """The actions of the list at that address."""
    return listing.passing(ApprovalFilter, waiting(access), parameters, access)


@page
def approvals(request: ConsoleRequest) -> HttpResponse:
    rows = waiting(request.access).select_related("signal").defer("signal__payload").prefetch_related("approvals")
    found = listing.listing(request, ApprovalFilter, rows)
    held_back = _held_back(found.rows, page_state(request.freezes, request.freshness))
    for row in found.rows:
        row.held_back = held_back[row.pk]  # type: ignore[attr-defined]
        votes = {one.by: one for one in row.approvals.all() if one.digest == row.digest}
        row.given = sum(one.decision == Vote.APPROVE for one in votes.values())  # type: ignore[attr-defined]
        row.required = required(row)  # type: ignore[attr-defined]
    return render(request, "console/approvals.html", {"listing": found})


def _held_back(rows: Sequence[Action], known: PageState) -> dict[Any, tuple[HeldBack, ...]]:
    """By the id of the action: what would hold it back after its approval. One query."""
    wanted = [
        Wanted(one.workload.target, one.workload_id, ActionType(one.type), one.params, own=one.pk) for one in rows
    ]
    histories = zip(rows, load_history(wanted), strict=True)
    return {row.pk: tuple(of_approval(row, history, known)) for row, history in histories}


@page
def approval(request: ConsoleRequest, pk: UUID) -> HttpResponse:
    """Of every action that persons were asked about, also after the decision: a refusal at the run is shown here."""
    rows = queries.actions().filter(visible(request.access)).exclude(digest="").select_related("signal")
    row: Any = get_object_or_404(rows.defer("signal__payload"), pk=pk)
    now = timezone.now()
    is_open = row.state == ActionState.AWAITING_APPROVAL and row.deadline_at > now
    context = {
        "action": row,
        "is_open": is_open,
        "rehearsal": row.rehearsal if row.rehearsal and row.rehearsal["digest"] == row.digest else None,
        "objection": objection(request.user, row) if is_open else "",
        "deciders": may_decide(row) if is_open else [],
        "approvers": approvers(row),
        "required": required(row),
        "votes": list(row.approvals.all()),
        "around": listing.around(request, ApprovalFilter, waiting(request.access), row, "console:approvals", address),
    }
    if is_open:
        context |= _circumstances(row, now)
    return render(request, "console/approval.html", context)


@act(Right.APPROVE)
def approve(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    row = _undecided(request, pk)
    left = required(row) - len(approvers(row))
    more = "A reconciler checks everything once more, and writes the change."
    if left > 1:
        more = f"{left} approvals are missing. After the last one, a reconciler checks everything again and writes it."
    asked = Confirmation("Approve", f"Approve {headline(row)}", more, **_about(row, "console/approve.html"))
    risks = circumstances(row, timezone.now()).risks
    wanted = acknowledgement(request.GET.get("digest", row.digest), risks)
    return _decide(request, row, ApproveForm, asked, Vote.APPROVE, risks=risks, acknowledgement=wanted)


@act(Right.APPROVE)
def reject(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    row = _undecided(request, pk)
    more = "The action ends, and nothing is written. If the problem is reported again, it is decided on again."
    asked = Confirmation("Reject", f"Reject {headline(row)}", more, danger=True, **_about(row))
    return _decide(request, row, RejectForm, asked, Vote.REJECT)


@act(Right.APPROVE)
def rehearse(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    row = _undecided(request, pk)
    more = "The API server checks the change and does not store it. The action continues to wait for a decision."
    asked = Confirmation("Approve as dry run", f"Dry run of {headline(row)}", more, **_about(row))

    def perform(given: dict[str, Any]) -> Outcome:
        return acts.rehearse(row.pk, given["digest"], person(request), lambda action: objection(request.user, action))

    return _respond(request, row, DryRunForm, asked, perform)


class DryRunForm(forms.Form):
    """`digest`: of what the page showed. What has changed since then is not what the person has read. A dry run changes
    nothing, and needs no reason."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)


class ApproveForm(DryRunForm, ActForm):
    pass


class RejectForm(DryRunForm, ReasonedForm):
    pass


def address(action: Action) -> str:
    return reverse("console:approval", args=[action.pk])


def _undecided(request: ConsoleRequest, pk: UUID) -> Action:
    rows = queries.actions().filter(visible(request.access)).exclude(digest="")
    row = get_object_or_404(rows, pk=pk)
    require(request, Right.APPROVE, row.workload.target)
    if problem := objection(request.user, row):
        raise PermissionDenied(problem)
    return row


def _about(row: Action, details: str = "console/approval_change.html") -> dict[str, Any]:
    return {"back": address(row), "targets": [row.workload.target.with_kind], "details": details}


def _decide(
    request: ConsoleRequest, row: Action, form: Any, asked: Confirmation, decision: Vote, **context: Any
) -> HttpResponseBase:
    """A parameter `acknowledged` is the acknowledgement of a high risk: the details of the form ask for it."""

    def perform(given: dict[str, Any]) -> Outcome:
        digest, reason, acknowledged = given["digest"], given["reason"], request.POST.get("acknowledged", "")
        may_not = partial(objection, request.user)
        return acts.vote(row.pk, digest, person(request), decision, reason, may_not, acknowledged)

    return _respond(request, row, form, asked, perform, **context)


def _respond(
    request: ConsoleRequest, row: Action, form: Any, asked: Confirmation, perform: Any, **context: Any
) -> HttpResponseBase:
    filled = form(posted(request), initial={"digest": request.GET.get("digest", row.digest)})
    return respond(request, filled, asked, perform, action=row, **context)


def _circumstances(row: Action, now: datetime) -> dict[str, Any]:
    """Why its risk is high, what else speaks against it, and what is left of the limits after the action."""
    found = circumstances(row, now)
    history = found.history
    known = Surroundings(found.target, history.freezes, _same(row), _nearby(row, now))
    done = RecentAction(ActionType(row.type), now, row.scale_increase, row.scale_decrease)
    return {
        "risks": found.risks,
        "against": reasons_against(known, now),
        "headroom": headroom(history.limits, history.recent, done, found.replicas, now),
    }


def _same(row: Action) -> tuple[Earlier, ...]:
    rows = Action.of_active_months().filter(
        workload=row.workload_id, type=row.type, params=row.params, state__in=FINAL, dry_run=False
    )
    return _earlier(rows.exclude(pk=row.pk), "-pk")


def _nearby(row: Action, now: datetime) -> tuple[Earlier, ...]:
    of_namespace = Action.of_active_months().filter(
        cluster=row.cluster, workload__namespace=row.workload.namespace, dry_run=False
    )
    lately = Q(state__in=ACTIVE) | Q(applied_at__gte=now - NEARBY)
    return _earlier(of_namespace.filter(lately).exclude(workload=row.workload_id), "-pk")


def _earlier(rows: "QuerySet[Action]", order: str) -> tuple[Earlier, ...]:
    found = rows.select_related("workload").order_by(order)[:SHOWN]
    return tuple(Earlier(str(one.workload), ActionState(one.state).label.lower(), one.updated_at) for one in found)
