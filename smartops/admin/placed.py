"""Rights in the admin: each list, form and action has the rows that the person may see, and changes those that the
person may change (smartops/people/scopes.py). Permissions of Django are not checked."""
# ruff: noqa: ARG002 - the signatures are ModelAdmin's

from types import SimpleNamespace
from typing import Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from signals.lib.edited_admin import MAX_ROWS, EditedAdmin, EditedForm
from signals.lib.history_admin import HistoryAdmin
from signals.setting_changes import SettingChange
from smartops.people.access import Access, access_in
from smartops.people.scopes import SCOPES, visible_changes

Row = TypeVar("Row", bound=Model)
PLACE = ("cluster", "namespace", "namespaces", "to_namespace")  # fields that say where a row holds


class Placed(admin.ModelAdmin[Row]):
    """The mixin of every page of the admin."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        return super().get_queryset(request).filter(SCOPES[self.model].visible(access_in(request)))

    def may_change(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return SCOPES[self.model].may_change(access_in(request), obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        """A row comes from `get_queryset`."""
        return SCOPES[self.model].opens(access_in(request))

    def response_action(self, request: HttpRequest, queryset: QuerySet[Row], *args: Any) -> HttpResponse | None:
        """Of the chosen rows, with those that the person may change."""
        allowed = []
        for row in queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)[:MAX_ROWS]):
            if self.may_change(request, row):
                allowed.append(row.pk)
            else:
                text = f"Nothing was done to {row}: your account has no right to change it."
                self.message_user(request, text, messages.ERROR)
        return super().response_action(request, queryset.filter(pk__in=allowed), *args)


class PlacedHistoryAdmin(Placed[Row], HistoryAdmin[Row]):
    pass


class PlacedForm(EditedForm[Row]):
    """Refuses a row outside of what the person may change, before it says anything about the rows that exist there."""

    access: Access | None = None  # `PlacedAdmin.get_form` sets it; the console checks the right itself

    def clean(self) -> Any:
        scope, model = SCOPES[self._meta.model], self._meta.model
        fields = {f.name: self.cleaned_data.get(f.name, getattr(self.instance, f.name)) for f in _plain(model)}
        if self.access is not None and not scope.may_change(self.access, SimpleNamespace(**fields)):
            where = [name for name in PLACE if name in self.fields]
            for name in where or [NON_FIELD_ERRORS]:
                self.add_error(name, f"Your account has no right to {scope.changed_by} in all of this scope.")
        return super().clean()


def _plain(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.is_relation]


class PlacedAdmin(Placed[Row], EditedAdmin[Row]):
    form: Any = PlacedForm

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.access = access_in(request)
        return form

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may_change(request)

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return self.may_change(request, obj)

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        if not self.may_change(request, obj):
            raise PermissionDenied
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Row) -> None:
        if not self.may_change(request, obj):
            raise PermissionDenied
        super().delete_model(request, obj)

    def changes(self, request: HttpRequest, row: Row) -> QuerySet[SettingChange]:
        return super().changes(request, row).filter(visible_changes(access_in(request)))
