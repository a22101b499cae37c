"""Aliases: which workloads the names of detectors stand for."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from orchestrator.models import Workload
from signals.aliases import Alias
from signals.lib.edited_admin import EditedAdmin
from signals.models import Signal
from signals.naming import alias_for
from signals.unresolved import UNRESOLVED
from smartops.admin.scopes import similar

COMPARED, SHOWN = 1000, 5  # unresolved signals


@admin.register(Alias)
class AliasAdmin(EditedAdmin[Alias]):
    list_display = [
        "pattern", "source", "cluster", "namespace", "kind", "to_namespace", "workload", "priority", "enabled",
    ]  # fmt: skip
    list_filter = ["enabled", "source", "namespace"]
    search_fields = ["pattern", "workload", "to_namespace"]
    readonly_fields = ["updated_at"]
    fieldsets = [
        ("Names", {"fields": ["pattern", "source", "cluster", "namespace"]}),
        ("Workload", {"fields": ["kind", "to_namespace", "workload"]}),
        (None, {"fields": ["enabled", "priority"]}),
        ("History", {"fields": ["updated_at"]}),
    ]

    def save_model(self, request: HttpRequest, obj: Alias, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.enabled:
            self.message_user(request, f"The alias “{obj}” {matched(obj)}{_hint(obj)}", messages.INFO)


def matched(alias: Alias) -> str:
    """“matches these names of unresolved signals: Tomcat01, Tomcat02. They are decided on now.”"""
    spec = alias.spec()
    rows = Signal.objects.filter(UNRESOLVED).defer("payload").order_by("-pk")[:COMPARED]
    found = list(dict.fromkeys(row.workload for row in rows if alias_for(row.named, [spec])))
    if not found:
        return "matches no signal that is unresolved now."
    names = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    return f"matches these names of unresolved signals: {names}. They are decided on now."


def _hint(alias: Alias) -> str:
    if Workload.objects.filter(name=alias.workload, kind=alias.kind).exists():
        return ""
    return similar(alias.to_namespace or alias.namespace, alias.workload)
