"""Admin pages: rules can be changed; signals and observations are read-only."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from signals.models import Observation, Rule, Signal


class HistoryAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A read-only page, for rows that only the software writes."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Rule)
class RuleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = [
        "name",
        "priority",
        "enabled",
        "source",
        "symptom",
        "namespace",
        "workload",
        "action_type",
        "params",
    ]
    list_filter = ["enabled", "source", "action_type", "namespace"]
    list_editable = ["priority", "enabled"]
    search_fields = ["name", "symptom", "namespace", "workload"]
    readonly_fields = ["version", "updated_at"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "priority"]}),
        ("When", {"fields": ["source", "symptom", "namespace", "workload"]}),
        ("At least", {"fields": ["min_score", "min_probability", "min_confidence"]}),
        ("Then", {"fields": ["action_type", "params"]}),
        ("History", {"fields": ["version", "updated_at"]}),
    ]


@admin.register(Signal)
class SignalAdmin(HistoryAdmin):
    list_display = ["first_seen_at", "source", "symptom", "namespace", "workload", "state", "reason", "count"]
    list_filter = ["state", "source", "reason", "namespace"]
    search_fields = ["workload", "symptom", "message"]
    date_hierarchy = "first_seen_at"
    ordering = ["-id"]


@admin.register(Observation)
class ObservationAdmin(HistoryAdmin):
    list_display = ["received_at", "signal", "window_id", "firing", "posted_by"]
    list_filter = ["firing", "posted_by"]
    list_select_related = ["signal"]
    search_fields = ["window_id", "posted_by", "signal__workload"]
    date_hierarchy = "received_at"
    ordering = ["-id"]
