"""History is read-only here. A person may only review an action whose write has an unknown outcome."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from guardrails.models import effective_limits
from orchestrator.models import Action, ActionState, AuditEvent, DecisionRecord, Verification, Workload, transitions
from signals.admin import HistoryAdmin


@admin.register(Workload)
class WorkloadAdmin(HistoryAdmin[Workload]):
    list_display = ["name", "namespace", "kind", "cluster"]
    list_filter = ["cluster", "namespace"]
    search_fields = ["name", "namespace"]


@admin.register(Action)
class ActionAdmin(HistoryAdmin[Action]):
    list_display = ["created_at", "type", "workload", "state", "reason", "origin", "requested_by", "attempts"]
    list_filter = ["state", "type", "origin", "reason", "cluster"]
    list_select_related = ["workload"]
    search_fields = ["workload__name", "workload__namespace", "requested_by", "message"]
    date_hierarchy = "created_at"
    ordering = ["-id"]
    actions = ["mark_as_applied", "mark_as_not_applied"]

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orchestrator.change_action")

    @admin.action(description="Mark as applied: the cluster has the change", permissions=["review"])
    def mark_as_applied(self, request: HttpRequest, chosen: QuerySet[Action]) -> None:
        self._review(request, chosen, applied=True)

    @admin.action(description="Mark as not applied: the cluster does not have the change", permissions=["review"])
    def mark_as_not_applied(self, request: HttpRequest, chosen: QuerySet[Action]) -> None:
        self._review(request, chosen, applied=False)

    def _review(self, request: HttpRequest, chosen: QuerySet[Action], *, applied: bool) -> None:
        user = request.user.get_username()
        result = "applied" if applied else "not applied"
        for action in chosen.select_related("workload", "signal"):
            if action.state != ActionState.NEEDS_REVIEW:
                self.message_user(request, f"{action} does not need a review.", messages.WARNING)
                continue
            message, limits = f"{user} marked the change as {result}.", effective_limits(action.workload.target)
            if transitions.store([transitions.reviewed(action, applied, message, limits, user)]):
                self.message_user(request, f"{action} is marked as {result}.", messages.SUCCESS)
            else:
                self.message_user(request, f"{action} was reviewed by somebody else first.", messages.WARNING)


@admin.register(DecisionRecord)
class DecisionAdmin(HistoryAdmin[DecisionRecord]):
    list_display = ["created_at", "phase", "outcome", "reason", "message", "signal", "action"]
    list_filter = ["phase", "outcome", "reason"]
    list_select_related = ["signal", "action__workload"]
    search_fields = ["message", "action__workload__name", "signal__workload"]
    date_hierarchy = "created_at"
    ordering = ["-id"]


@admin.register(Verification)
class VerificationAdmin(HistoryAdmin[Verification]):
    list_display = [
        "started_at", "action", "status", "desired_replicas", "ready_replicas", "available_replicas", "message",
    ]  # fmt: skip
    list_filter = ["status"]
    list_select_related = ["action__workload"]
    search_fields = ["action__workload__name", "message"]
    date_hierarchy = "started_at"
    ordering = ["-action"]


@admin.register(AuditEvent)
class AuditEventAdmin(HistoryAdmin[AuditEvent]):
    list_display = ["at", "action", "from_state", "to_state", "reason", "message", "actor"]
    list_filter = ["to_state", "reason"]
    list_select_related = ["action__workload"]
    search_fields = ["actor", "message", "action__workload__name"]
    date_hierarchy = "at"
    ordering = ["-id"]
