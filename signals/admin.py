"""Rules are edited here. Signals and observations are read-only."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from typing import TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from signals.models import Observation, Rule, Signal

Row = TypeVar("Row", bound=Model)


class HistoryAdmin(admin.ModelAdmin[Row]):
    """Read-only: only the software writes these rows."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Rule)
class RuleAdmin(admin.ModelAdmin[Rule]):
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
        ("Conditions", {"fields": ["source", "symptom", "namespace", "workload"]}),
        ("Thresholds", {"fields": ["min_score", "min_probability", "min_confidence"]}),
        ("Action", {"fields": ["action_type", "params"]}),
        ("History", {"fields": ["version", "updated_at"]}),
    ]


@admin.register(Signal)
class SignalAdmin(HistoryAdmin[Signal]):
    list_display = ["first_seen_at", "source", "symptom", "namespace", "workload", "state", "reason", "count"]
    list_filter = ["state", "source", "reason", "namespace"]
    search_fields = ["workload", "symptom", "message"]
    date_hierarchy = "first_seen_at"
    ordering = ["-id"]


@admin.register(Observation)
class ObservationAdmin(HistoryAdmin[Observation]):
    list_display = ["received_at", "signal", "window_id", "firing", "late", "posted_by"]
    list_filter = ["firing", "posted_by"]
    list_select_related = ["signal"]
    search_fields = ["window_id", "posted_by", "signal__workload"]
    date_hierarchy = "received_at"
    ordering = ["-id"]
