"""Aliases: which workloads the names of detectors stand for."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest

from orchestrator.models import Workload
from signals.aliases import Alias
from signals.identity import alias_for
from signals.models import Signal
from signals.unidentified import UNIDENTIFIED
from smartops.admin.placed import PlacedAdmin
from smartops.admin.scopes import first_of, similar
from smartops.people.access import Access, access_in

COMPARED, SHOWN = 1000, 5  # unidentified signals


@admin.register(Alias)
class AliasAdmin(PlacedAdmin[Alias]):
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
            access = access_in(request)
            text = f"The alias “{obj}” {matched(access, obj)}{_hint(access, obj)}"
            self.message_user(request, text, messages.INFO)


def matched(access: Access, alias: Alias) -> str:
    """“matches these names of unidentified signals: Tomcat01, Tomcat02. They are decided on now.”"""
    spec = alias.spec()
    rows = Signal.pending().filter(access.visible(), UNIDENTIFIED).defer("payload").order_by("-pk")[:COMPARED]
    found = list(dict.fromkeys(row.workload for row in rows if alias_for(row.named, [spec])))
    if not found:
        return "matches no signal that is unidentified now."
    names = first_of(found[:SHOWN], len(found))
    return f"matches these names of unidentified signals: {names}. They are decided on now."


def _hint(access: Access, alias: Alias) -> str:
    if Workload.objects.filter(access.visible(), name=alias.workload, kind=alias.kind).exists():
        return ""
    return similar(access, alias.to_namespace or alias.namespace, alias.workload)
