"""Accounts and groups: Django's own forms, with the protection against lost updates. Role grants."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User

from signals.lib.edited_admin import EditedAdmin, EditedForm
from smartops.models import RoleGrant

admin.site.unregister([User, Group])


class PersonForm(EditedForm[User], UserChangeForm[User]):
    pass


@admin.register(User)
class PersonAdmin(EditedAdmin[User], UserAdmin[User]):
    """The log of the admin refers to an account, and is history: an account is deactivated, not deleted."""

    form = PersonForm

    def has_delete_permission(self, request: Any, obj: User | None = None) -> bool:  # noqa: ARG002
        return False

    def get_fieldsets(self, request: Any, obj: User | None = None) -> Any:
        return UserAdmin.get_fieldsets(self, request, obj) if obj is None else super().get_fieldsets(request, obj)


@admin.register(Group)
class TeamAdmin(EditedAdmin[Group], GroupAdmin):
    pass


@admin.register(RoleGrant)
class RoleGrantAdmin(EditedAdmin[RoleGrant]):
    list_display = ["role", "group", "user", "cluster", "namespace"]
    list_filter = ["role", "cluster", "namespace"]
    list_select_related = ["group", "user"]
    search_fields = ["user__username", "group__name", "namespace"]
    autocomplete_fields = ["user", "group"]
    fieldsets = [
        (None, {"fields": ["role"]}),
        ("To whom", {"fields": ["group", "user"], "description": "Choose an account or a group."}),
        ("Where", {"fields": ["cluster", "namespace"]}),
    ]
