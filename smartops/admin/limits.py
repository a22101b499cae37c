"""Limits and freezes, which operators set, and cooldowns, which they may shorten or delete."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze, GuardrailSetting
from signals import actors
from signals.lib.edited_admin import REASON, EditedAdmin, confirmed
from smartops.admin.scopes import ScopedAdmin

SCOPE: Any = ("Scope", {"fields": ["cluster", "kind", "namespace", "workload", "everything"]})


@admin.register(GuardrailSetting)
class GuardrailSettingAdmin(ScopedAdmin[GuardrailSetting]):
    list_display = ["scope", *LIMIT_FIELDS, "updated_at"]
    list_filter = ["cluster", "kind", "namespace"]
    search_fields = ["namespace", "workload"]
    deletion_needs_reason = True
    readonly_fields = ["updated_at"]
    fieldsets = [SCOPE, ("Limits", {"fields": LIMIT_FIELDS}), ("History", {"fields": ["updated_at"]})]


@admin.register(Freeze)
class FreezeAdmin(ScopedAdmin[Freeze]):
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

        with transaction.atomic():
            rows = confirmed(self, request, chosen, "lift_chosen", "Lift", effect, needs_reason=True)
            if isinstance(rows, HttpResponse):
                return rows
            reason = request.POST[REASON].strip()[:256]
            for row in rows:
                if row.lift(actors.user(request.user.get_username()), reason):
                    self.log_change(request, row, f"Lifted: {reason}")
                    self.message_user(request, f"Lifted: {row}.", messages.SUCCESS)
                else:
                    self.message_user(request, f"Nothing was done to {row}: it has been lifted.", messages.WARNING)
        return None


@admin.register(Cooldown)
class CooldownAdmin(EditedAdmin[Cooldown]):
    list_display = ["cluster", "kind", "namespace", "workload", "action_type", "until"]
    list_filter = ["action_type", "cluster", "kind", "namespace"]
    search_fields = ["workload"]
