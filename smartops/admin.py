"""API tokens: issued, narrowed and revoked here. The text of a token is shown once, by the answer that made it."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from smartops.models import Token
from smartops.tokens import Scope, issue


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope], widget=forms.CheckboxSelectMultiple
    )
    namespaces = forms.CharField(
        required=False, help_text="Where it may read and act, separated by commas. Empty: everywhere."
    )

    class Meta:
        model = Token
        fields = ["name", "scopes", "namespaces", "expires_at", "revoked_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["namespaces"] = ", ".join(self.instance.namespaces)

    def clean_namespaces(self) -> list[str]:
        return sorted({name.strip() for name in self.cleaned_data["namespaces"].split(",") if name.strip()})


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = TokenForm
    list_display = ["name", "scopes", "namespaces", "created_at", "expires_at", "revoked_at", "last_used_at"]
    list_filter = ["revoked_at", "expires_at"]
    search_fields = ["name", "lookup"]
    date_hierarchy = "created_at"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["name", "scopes", "namespaces", "expires_at"]
        return ["name", "lookup", "scopes", "namespaces", "expires_at", "revoked_at", "created_at", "last_used_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["name", "lookup", "created_at", "last_used_at"]  # the audit speaks of the name

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        scopes = [Scope(scope) for scope in obj.scopes]
        text = issue(obj.name, scopes, obj.namespaces, obj.expires_at)
        obj.pk = Token.objects.values_list("pk", flat=True).get(name=obj.name)
        obj.issued = text  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Not a message: those travel through a cookie."""
        context = {**self.admin_site.each_context(request), "title": f"Token for {obj.name}", "text": obj.issued}
        return TemplateResponse(request, "admin/smartops/token/issued.html", context)
