"""History, to be read. The one thing to do here: say what came of a write whose outcome is unknown."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from orchestrator.models import Action, ActionState, AuditEvent, Decision, Verification, Workload
from signals.admin import HistoryAdmin
from signals.lib.statements import LostRace


@admin.register(Workload)
class WorkloadAdmin(HistoryAdmin):
    list_display = ["name", "namespace", "kind", "cluster"]
    list_filter = ["cluster", "namespace"]
    search_fields = ["name", "namespace"]


@admin.register(Action)
class ActionAdmin(HistoryAdmin):
    list_display = ["created_at", "type", "workload", "state", "reason", "origin", "requested_by", "attempts"]
    list_filter = ["state", "type", "origin", "reason", "cluster"]
    list_select_related = ["workload"]
    search_fields = ["workload__name", "workload__namespace", "requested_by", "message"]
    date_hierarchy = "created_at"
    ordering = ["-id"]
    actions = ["it_landed", "it_did_not_land"]

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orchestrator.change_action")

    @admin.action(description="It landed: the change is in the cluster", permissions=["review"])
    def it_landed(self, request: HttpRequest, chosen: QuerySet[Action]) -> None:
        self._review(request, chosen, landed=True)

    @admin.action(description="It did not land: the cluster was not changed", permissions=["review"])
    def it_did_not_land(self, request: HttpRequest, chosen: QuerySet[Action]) -> None:
        self._review(request, chosen, landed=False)

    def _review(self, request: HttpRequest, chosen: QuerySet[Action], *, landed: bool) -> None:
        who = request.user.get_username()
        found = "the change landed" if landed else "the change did not land"
        for action in chosen.select_related("workload"):
            if action.state != ActionState.NEEDS_REVIEW:
                self.message_user(request, f"{action}: it does not need a review.", messages.WARNING)
                continue
            try:
                action.reviewed(landed, f"{who} looked: {found}.", who)
            except LostRace:
                self.message_user(request, f"{action}: somebody else was first.", messages.WARNING)
            else:
                self.message_user(request, f"{action}: recorded that {found}.", messages.SUCCESS)


@admin.register(Decision)
class DecisionAdmin(HistoryAdmin):
    list_display = ["created_at", "phase", "outcome", "reason", "message", "signal", "action"]
    list_filter = ["phase", "outcome", "reason"]
    list_select_related = ["signal", "action__workload"]
    search_fields = ["message", "action__workload__name", "signal__workload"]
    date_hierarchy = "created_at"
    ordering = ["-id"]


@admin.register(Verification)
class VerificationAdmin(HistoryAdmin):
    list_display = [
        "started_at", "action", "status", "desired_replicas", "ready_replicas", "available_replicas", "message",
    ]  # fmt: skip
    list_filter = ["status"]
    list_select_related = ["action__workload"]
    search_fields = ["action__workload__name", "message"]
    date_hierarchy = "started_at"
    ordering = ["-action"]


@admin.register(AuditEvent)
class AuditEventAdmin(HistoryAdmin):
    list_display = ["at", "action", "from_state", "to_state", "reason", "message", "actor"]
    list_filter = ["to_state", "reason"]
    list_select_related = ["action__workload"]
    search_fields = ["actor", "message", "action__workload__name"]
    date_hierarchy = "at"
    ordering = ["-id"]
