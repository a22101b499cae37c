"""Rules: which signal leads to which action."""

from django.contrib import admin

from signals.models import Rule
from smartops.admin.scopes import ScopedAdmin, ScopedForm


class RuleForm(ScopedForm[Rule]):
    scope = ("kind", "namespace", "workload")


@admin.register(Rule)
class RuleAdmin(ScopedAdmin[Rule]):
    form = RuleForm
    list_display = [
        "name", "priority", "enabled", "source", "symptom", "kind", "namespace", "workload", "action_type", "params",
    ]  # fmt: skip
    list_filter = ["enabled", "source", "action_type", "kind", "namespace"]
    search_fields = ["name", "symptom", "namespace", "workload"]
    readonly_fields = ["version", "updated_at"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "priority"]}),
        ("Conditions", {"fields": ["source", "symptom", "kind", "namespace", "workload", "everything"]}),
        ("Thresholds", {"fields": ["min_score", "min_probability", "min_confidence"]}),
        ("Action", {"fields": ["action_type", "params"]}),
        ("History", {"fields": ["version", "updated_at"]}),
    ]
