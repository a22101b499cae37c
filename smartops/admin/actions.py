"""History is read-only here. A person may only review an action whose write has an unknown outcome."""

from collections.abc import Mapping
from functools import partial

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from orchestrator.acts import Done
from orchestrator.acts.actions import settle, settle_refusal
from orchestrator.models import (
    Action,
    Approval,
    AuditEvent,
    DecisionRecord,
    RefusedRequest,
    Verification,
    Workload,
)
from signals import actors
from signals.lib.edited_admin import confirmed, posted_reason
from smartops.admin.placed import PlacedHistoryAdmin, Row
from smartops.admin.signals import signals_of

LARGE = ("params", "details", "before", "change")
LARGE_OF_ACTION = tuple(f"action__{name}" for name in LARGE)


def actions_of(scope: Mapping[str, str]) -> Q:
    return Q(workload__in=Workload.objects.filter(**scope).values("pk"))


@admin.register(Workload)
class WorkloadAdmin(PlacedHistoryAdmin[Workload]):
    list_display = ["name", "namespace", "kind", "cluster"]
    ids = ()
    ordering = ["cluster", "namespace", "name", "kind"]  # an index has this order

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return Q(**scope)


@admin.register(Action)
class ActionAdmin(PlacedHistoryAdmin[Action]):
    list_display = ["created_at", "type", "workload", "state", "reason", "origin", "requested_by", "attempts"]
    list_filter = ["state"]
    list_select_related = ["workload", "signal"]
    large, large_related = LARGE, ("signal__payload",)
    ids = ("pk", "signal_id")
    ordering = ["-id"]
    actions = ["mark_as_applied", "mark_as_not_applied"]

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return actions_of(scope)

    def has_review_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    @admin.action(description="Mark as applied: the cluster has the change", permissions=["review"])
    def mark_as_applied(self, request: HttpRequest, chosen: QuerySet[Action]) -> HttpResponse | None:
        return self._review(request, chosen, "mark_as_applied", applied=True)

    @admin.action(description="Mark as not applied: the cluster does not have the change", permissions=["review"])
    def mark_as_not_applied(self, request: HttpRequest, chosen: QuerySet[Action]) -> HttpResponse | None:
        return self._review(request, chosen, "mark_as_not_applied", applied=False)

    def _review(
        self, request: HttpRequest, chosen: QuerySet[Action], name: str, *, applied: bool
    ) -> HttpResponse | None:
        result = "applied" if applied else "not applied"
        # No row is locked: the workload's row comes first, and the act compares and sets.
        found = confirmed(
            self, request, chosen, name, f"Mark as {result}", partial(_effect, applied), needs_reason=True, lock=None
        )
        if isinstance(found, HttpResponse):
            return found
        user = actors.user(request.user.get_username())
        for action in found:
            outcome = settle(action.pk, applied, user, posted_reason(request))
            level = messages.SUCCESS if isinstance(outcome, Done) else messages.WARNING
            self.message_user(request, outcome.message, level)
        return None


def _effect(applied: bool, action: Action) -> str:
    if settle_refusal(action) is not None:
        return "does not need a review, and is not changed"
    return "is marked as applied, and succeeds" if applied else "is marked as not applied, and is cancelled"


@admin.register(DecisionRecord)
class DecisionAdmin(PlacedHistoryAdmin[DecisionRecord]):
    list_display = ["created_at", "phase", "outcome", "reason", "message", "signal", "action"]
    list_select_related = ["signal", "action__workload"]
    large, large_related = ("inputs", "verdicts"), ("signal__payload", *LARGE_OF_ACTION)
    ids = ("pk", "signal_id", "action_id")
    ordering = ["-id"]

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return signals_of(scope)


@admin.register(RefusedRequest)
class RefusedRequestAdmin(PlacedHistoryAdmin[RefusedRequest]):
    list_display = ["last_at", "requested_by", "reason", "namespace", "name", "count", "message"]
    ids = ()
    ordering = ["-id"]

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return Q(**scope)


class OfActionAdmin(PlacedHistoryAdmin[Row]):
    """Rows that belong to one action."""

    list_select_related = ["action__workload"]
    ids = ("action_id",)

    def of_workload(self, scope: Mapping[str, str]) -> Q:
        return Q(action__in=Action.objects.filter(actions_of(scope)).values("pk"))


@admin.register(Verification)
class VerificationAdmin(OfActionAdmin[Verification]):
    list_display = [
        "started_at", "action", "status", "desired_replicas", "ready_replicas", "available_replicas", "message",
    ]  # fmt: skip
    large, large_related = ("baseline",), LARGE_OF_ACTION
    ordering = ["-pk"]


@admin.register(Approval)
class ApprovalAdmin(OfActionAdmin[Approval]):
    list_display = ["at", "action", "decision", "by", "reason"]
    large_related = LARGE_OF_ACTION
    ordering = ["-id"]


@admin.register(AuditEvent)
class AuditEventAdmin(OfActionAdmin[AuditEvent]):
    list_display = ["at", "action", "from_state", "to_state", "reason", "message", "actor"]
    large, large_related = ("details",), LARGE_OF_ACTION
    ordering = ["-id"]
