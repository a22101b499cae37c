"""Accounts and groups: Django's own forms, with the protection against lost updates. Role grants."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User

from smartops.admin.placed import PlacedAdmin, PlacedForm
from smartops.models import RoleGrant

admin.site.unregister([User, Group])


class PersonForm(PlacedForm[User], UserChangeForm[User]):
    pass


@admin.register(User)
class PersonAdmin(PlacedAdmin[User], UserAdmin[User]):
    """The log of the admin refers to an account, and is history: an account is deactivated, not deleted. Permissions of
    Django have no field: rights come from role grants."""

    form = PersonForm
    filter_horizontal = ["groups"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser", "groups"]}),
        ("Times", {"fields": ["last_login", "date_joined"]}),
    ]

    def has_delete_permission(self, request: Any, obj: User | None = None) -> bool:  # noqa: ARG002
        return False

    def get_fieldsets(self, request: Any, obj: User | None = None) -> Any:
        return UserAdmin.get_fieldsets(self, request, obj) if obj is None else super().get_fieldsets(request, obj)


@admin.register(Group)
class TeamAdmin(PlacedAdmin[Group], GroupAdmin):
    fields = ["name"]
    filter_horizontal = ()


@admin.register(RoleGrant)
class RoleGrantAdmin(PlacedAdmin[RoleGrant]):
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
