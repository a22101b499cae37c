"""Rules: which signal leads to which action."""

from django import forms
from django.contrib import admin
from django.db.models import QuerySet

from orchestrator.models import Workload
from signals.models import Rule
from signals.names import is_pattern, name_matches
from signals.types import MINIMA
from smartops.admin.scopes import ScopedAdmin, ScopedForm
from smartops.json_field import JsonField


class RuleForm(ScopedForm[Rule]):
    scope = ("kind", "namespace", "workload", "labels")

    class Meta:
        field_classes = {"params": JsonField}
        widgets = {name: forms.Textarea({"rows": 2, "cols": 80}) for name in ("symptom", "labels", "params")}


@admin.register(Rule)
class RuleAdmin(ScopedAdmin[Rule]):
    form = RuleForm
    list_display = [
        "name", "priority", "enabled", "source", "symptom", "kind", "namespace", "workload", "action_type", "params",
        "mode",
    ]  # fmt: skip
    list_filter = ["enabled", "source", "action_type", "mode", "kind", "namespace"]
    search_fields = ["name", "symptom", "labels", "namespace", "workload"]
    readonly_fields = ["version", "updated_at"]
    fieldsets = [
        (None, {"fields": ["name", "enabled", "priority"]}),
        ("The signal", {"fields": ["source", "symptom_match", "symptom", "severity", "labels"]}),
        ("Its workload", {"fields": ["kind", "namespace", "workload", "everything"]}),
        ("Thresholds", {"fields": [*MINIMA]}),
        ("Time", {"fields": ["for_seconds", ("min_reports", "of_reports")]}),
        ("Action", {"fields": ["action_type", "params", "mode"]}),
        ("History", {"fields": ["version", "updated_at"]}),
    ]

    def workloads(self, row: Rule) -> QuerySet[Workload]:
        """The known workloads that the rule may match."""
        rows = Workload.objects.filter(**{"kind": row.kind} if row.kind else {})
        for field, wanted in (("namespace", row.namespace), ("name", row.workload)):
            if is_pattern(wanted):
                names = rows.order_by().values_list(field, flat=True).distinct()
                rows = rows.filter(**{f"{field}__in": [name for name in names if name_matches(wanted, name)]})
            elif wanted:
                rows = rows.filter(**{field: wanted})
        return rows
