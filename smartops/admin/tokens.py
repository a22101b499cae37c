"""API tokens: operators issue, restrict and revoke them. The response that creates a token is the only one that shows
its text."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from orchestrator.models import Workload
from signals.lib.edited_admin import confirmed
from smartops import tokens
from smartops.admin.scopes import ScopedAdmin, ScopedForm
from smartops.models import Token
from smartops.tokens import Scope, issue


class TokenForm(ScopedForm[Token]):
    scope = ("namespaces",)
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope], widget=forms.CheckboxSelectMultiple
    )
    namespaces = forms.CharField(
        required=False, help_text="Namespaces that the token covers, comma-separated. Empty: all."
    )

    class Meta:
        model = Token
        fields = [
            "name",
            "scopes",
            "namespaces",
            "signals_per_minute",
            "waiting_signals",
            "expires_at",
            "revoked_at",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["namespaces"] = ", ".join(self.instance.namespaces)

    def clean_namespaces(self) -> list[str]:
        return sorted({name.strip() for name in self.cleaned_data["namespaces"].split(",") if name.strip()})

    def clean_expires_at(self) -> Any:
        end = self.cleaned_data["expires_at"]
        if "expires_at" in self.changed_data and end is not None and end <= timezone.now():
            raise ValidationError(f"{end:%Y-%m-%d %H:%M} UTC is in the past. To end a token now, revoke it.")
        return end


@admin.register(Token)
class TokenAdmin(ScopedAdmin[Token]):
    form = TokenForm
    list_display = ["name", "scopes", "namespaces", "created_at", "expires_at", "revoked_at", "last_used_at"]
    list_filter = ["revoked_at", "expires_at"]
    search_fields = ["name", "lookup"]
    actions = ["revoke_chosen"]

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        """A token that was revoked may be in wrong hands: it stays so."""
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        scope = ["scopes", "namespaces", "everything"]
        if obj is None:
            return ["name", *scope, "expires_at"]
        limits = ["signals_per_minute", "waiting_signals"]
        return ["name", "lookup", *scope, *limits, "expires_at", "revoked_at", "created_at", "last_used_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The audit refers to the name."""
        return [] if obj is None else ["name", "lookup", "created_at", "last_used_at"]

    def workloads(self, row: Token) -> QuerySet[Workload]:
        return Workload.objects.filter(**{"namespace__in": row.namespaces} if row.namespaces else {})

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            tokens.forget(obj.lookup)
            return
        scopes = [Scope(scope) for scope in obj.scopes]
        text = issue(obj.name, scopes, obj.namespaces, obj.expires_at)
        obj.pk = Token.objects.values_list("pk", flat=True).get(name=obj.name)
        obj.issued = text  # type: ignore[attr-defined]
        self.say_what_is_covered(request, obj)

    @admin.action(description="Revoke, after a confirmation", permissions=["change"])
    def revoke_chosen(self, request: HttpRequest, chosen: QuerySet[Token]) -> HttpResponse | None:
        def effect(token: Token) -> str:
            return "has been revoked already" if token.revoked_at else "is revoked, and cannot be restored"

        with transaction.atomic():
            rows = confirmed(self, request, chosen, "revoke_chosen", "Revoke", effect)
            if isinstance(rows, HttpResponse):
                return rows
            for row in rows:
                if tokens.revoke(row):
                    self.log_change(request, row, "Revoked.")
                    self.message_user(request, f"Revoked: token {row}.", messages.SUCCESS)
        return None

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Shows the token in the page: Django stores messages in a cookie."""
        context = {**self.admin_site.each_context(request), "title": f"Token for {obj.name}", "text": obj.issued}
        return TemplateResponse(request, "admin/smartops/token/issued.html", context)
