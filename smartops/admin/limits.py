"""Limits and freezes, which operators set, and cooldowns, which they may shorten or delete."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from guardrails.models import LIMIT_FIELDS, Cooldown, Freeze, GuardrailSetting
from signals import actors
from signals.lib.edited_admin import EditedAdmin
from smartops.admin.scopes import ScopedAdmin

SCOPE: Any = ("Scope", {"fields": ["cluster", "namespace", "workload", "everything"]})


@admin.register(GuardrailSetting)
class GuardrailSettingAdmin(ScopedAdmin[GuardrailSetting]):
    list_display = ["scope", *LIMIT_FIELDS, "updated_at"]
    list_filter = ["cluster", "namespace"]
    search_fields = ["namespace", "workload"]
    readonly_fields = ["updated_at"]
    fieldsets = [SCOPE, ("Limits", {"fields": LIMIT_FIELDS}), ("History", {"fields": ["updated_at"]})]


@admin.register(Freeze)
class FreezeAdmin(ScopedAdmin[Freeze]):
    list_display = ["scope", "reason", "by", "created_at", "until"]
    list_filter = ["cluster", "namespace"]
    search_fields = ["reason", "by", "workload"]
    readonly_fields = ["by", "created_at"]
    fieldsets = [SCOPE, ("Freeze", {"fields": ["reason", "until"]}), ("History", {"fields": ["by", "created_at"]})]

    def save_model(self, request: HttpRequest, obj: Freeze, form: Any, change: bool) -> None:
        if not change:
            obj.by = actors.user(request.user.get_username())
        super().save_model(request, obj, form, change)


@admin.register(Cooldown)
class CooldownAdmin(EditedAdmin[Cooldown]):
    list_display = ["cluster", "namespace", "workload", "action_type", "until"]
    list_filter = ["action_type", "cluster", "namespace"]
    search_fields = ["workload"]
