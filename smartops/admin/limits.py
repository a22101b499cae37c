"""Limits and freezes, which operators set, and cooldowns, which they may shorten or delete."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from guardrails.loosening import Loosened, loosened
from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze, GuardrailSetting, Scope, merge_limits
from orchestrator.acts import Done
from orchestrator.acts.freezes import lift
from signals import actors
from signals.lib import columns
from signals.lib.edited_admin import confirmed, posted_reason
from signals.types import Target
from smartops.admin.placed import PlacedAdmin
from smartops.admin.scopes import ScopedAdmin, ScopedForm

Row = Mapping[str, Any]  # columns of a setting
SCOPE: Any = ("Scope", {"fields": ["cluster", "kind", "namespace", "workload", "everything"]})


class LimitsForm(ScopedForm[GuardrailSetting]):
    def needs_reason(self) -> str:
        """Compares the limits of the scope that the row had, and of the one that it gets, before and after."""
        names = ("cluster", "kind", "namespace", "workload", *LIMIT_FIELDS)
        if self.errors:
            return ""  # it is not saved anyway
        stored = {name: getattr(self.instance, name) for name in names}
        was, becomes = None if self.adding else stored, {name: self.cleaned_data[name] for name in names}
        scopes = [one for one in (was, becomes) if one is not None]
        found = dict.fromkeys(change for one in scopes for change in self._loosened(one, was, becomes))
        return f"it loosens {', '.join(map(self._described, found))}." if found else ""

    def _described(self, change: Loosened) -> str:
        """“Max replicas” from 8 to 20."""
        table = self._meta.model._meta.db_table
        before, after = (columns.display(table, change.limit, value) for value in (change.before, change.after))
        return f"“{columns.label(table, change.limit)}” from {before} to {after}"

    def _loosened(self, scope: Row, was: Row | None, becomes: Row) -> tuple[Loosened, ...]:
        target = Target(scope["cluster"], scope["namespace"], scope["workload"], scope["kind"])
        others = [*GuardrailSetting.objects.filter(Scope.covering(target)).exclude(pk=self.instance.pk).values()]
        before = merge_limits([*others, *([was] if was and covers(was, scope) else [])])
        return loosened(before, merge_limits([*others, *([becomes] if covers(becomes, scope) else [])]))


def covers(wide: Row, scope: Row) -> bool:
    return all(wide[name] in ("", scope[name]) for name in ("cluster", "kind", "namespace", "workload"))


class FreezeForm(ScopedForm[Freeze]):
    own_reason = "reason"

    def needs_reason(self) -> str:
        return "" if self.adding else "others rely on this freeze."


@admin.register(GuardrailSetting)
class GuardrailSettingAdmin(ScopedAdmin[GuardrailSetting]):
    form = LimitsForm
    list_display = ["scope", *LIMIT_FIELDS, "updated_at"]
    list_filter = ["cluster", "kind", "namespace"]
    search_fields = ["namespace", "workload"]
    deletion_needs_reason = True
    readonly_fields = ["updated_at"]
    fieldsets = [SCOPE, ("Limits", {"fields": LIMIT_FIELDS}), ("History", {"fields": ["updated_at"]})]


@admin.register(Freeze)
class FreezeAdmin(ScopedAdmin[Freeze]):
    form = FreezeForm
    list_display = ["scope", "reason", "by", "created_at", "until", "lifted_at", "lifted_by"]
    list_filter = [("lifted_at", admin.EmptyFieldListFilter), "cluster", "kind", "namespace"]
    search_fields = ["reason", "by", "workload"]
    readonly_fields = ["by", "created_at", "lifted_at", "lifted_by", "lift_reason"]
    fieldsets = [
        SCOPE,
        ("Freeze", {"fields": ["reason", "until"]}),
        ("History", {"fields": ["by", "created_at", "lifted_at", "lifted_by", "lift_reason"]}),
    ]

    actions = ["lift_chosen"]

    def has_delete_permission(self, request: HttpRequest, obj: Freeze | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Freeze | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.lifted_at is None)

    def save_model(self, request: HttpRequest, obj: Freeze, form: Any, change: bool) -> None:
        if not change:
            obj.by = actors.user(request.user.get_username())
        super().save_model(request, obj, form, change)

    @admin.action(description="Lift, after a confirmation", permissions=["change"])
    def lift_chosen(self, request: HttpRequest, chosen: QuerySet[Freeze]) -> HttpResponse | None:
        def effect(freeze: Freeze) -> str:
            return "has been lifted already" if freeze.lifted_at else "is lifted: actions start again in its scope"

        rows = confirmed(self, request, chosen, "lift_chosen", "Lift", effect, needs_reason=True, lock=None)
        if isinstance(rows, HttpResponse):
            return rows
        for row in rows:
            outcome = lift(row.pk, actors.user(request.user.get_username()), reason := posted_reason(request))
            level = messages.SUCCESS if isinstance(outcome, Done) else messages.WARNING
            self.message_user(request, outcome.message, level)
            if isinstance(outcome, Done):
                self.log_change(request, row, f"Lifted: {reason}")
        return None


@admin.register(Cooldown)
class CooldownAdmin(PlacedAdmin[Cooldown]):
    list_display = ["cluster", "kind", "namespace", "workload", "action_type", "until"]
    list_filter = ["action_type", "cluster", "kind", "namespace"]
    search_fields = ["workload"]
