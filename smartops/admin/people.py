"""Accounts and groups: Django's own forms, with the protection against lost updates. Role grants. Second factors and
passkeys."""

from typing import Any, TypeVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Model, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html_join

from signals.lib.edited_admin import confirmed, posted_reason
from smartops.admin.placed import PlacedAdmin, PlacedForm
from smartops.admin.scopes import first_of
from smartops.models import Passkey, RoleGrant, SecondFactor
from smartops.people import passkeys
from smartops.people.sessions import lock
from smartops.web.sign_ins import signed_out_everywhere

admin.site.unregister([User, Group])
# Those of the extra `oidc`: sign-ins make their rows, and they hold secrets.
admin.site.unregister([one for one in admin.site._registry if one.__module__.startswith("allauth.")])


Row = TypeVar("Row", bound=Model)
MAX_DIGITS = 19  # of a key, a bigint
MAX_NAMED = 10  # accounts in one message

OF_PROVIDER: list[Any] = (
    [("Sign-in by an OpenID provider", {"fields": ["identities"]})] if settings.SMARTOPS_WITH_OIDC else []
)


def _is_own(request: Any, user: User) -> bool:
    """An account without a password has nothing to confirm with."""
    return bool(user.pk == request.user.pk and request.user.has_usable_password())


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
        *OF_PROVIDER,
    ]
    readonly_fields = ["identities"]
    actions = ["sign_out_chosen"]

    @admin.action(description="Sign out everywhere, after a confirmation", permissions=["change"])
    def sign_out_chosen(self, request: Any, chosen: QuerySet[User]) -> HttpResponse | None:
        def effect(_: User) -> str:
            return "is signed out everywhere"

        with transaction.atomic():
            rows = confirmed(
                self, request, chosen, "sign_out_chosen", "Sign out", effect, needs_reason=True, any_version=True
            )
            if isinstance(rows, HttpResponse):
                return rows
            for row in rows:
                signed_out_everywhere(request, row, posted_reason(request))
                self.log_change(request, row, "Signed out everywhere.")
        if request.user in rows:
            request.session.flush()
        if rows:
            text = f"Signed out everywhere: {first_of(rows[:MAX_NAMED], len(rows))}."
            self.message_user(request, text, messages.SUCCESS)
        return None

    def user_change_password(self, request: Any, id: str, form_url: str = "") -> Any:  # noqa: A002 - Django's
        """That of the own account is changed in the console, which asks for the one before."""
        user = self.get_object(request, unquote(id))
        if user is not None and _is_own(request, user):
            return redirect("console:password")
        return super().user_change_password(request, id, form_url)

    @admin.display(description="Identities")
    def identities(self, row: Any) -> str:
        """The issuer and the subject of each. The provider gives them, and nobody edits them."""
        found = row.socialaccount_set.order_by("pk").values_list("provider", "uid")
        return format_html_join("", "<div>{}: {}</div>", found) or "None."

    def has_delete_permission(self, request: Any, obj: User | None = None) -> bool:  # noqa: ARG002
        return False

    def get_fieldsets(self, request: Any, obj: User | None = None) -> Any:
        return UserAdmin.get_fieldsets(self, request, obj) if obj is None else super().get_fieldsets(request, obj)


@admin.register(Group)
class TeamAdmin(PlacedAdmin[Group], GroupAdmin):
    fields = ["name"]
    filter_horizontal = ()


class OwnedAdmin(PlacedAdmin[Row]):
    """Only its owner can set it up. An administrator removes that of somebody who has lost it, and their own in the
    console, which asks for the password."""

    deletion_needs_reason = True
    deletes_any_version = True  # a change by the owner does not prevent it
    deletion_note = "The sessions of the account end."

    def may_change(self, request: Any, obj: Row | None = None) -> bool:
        return super().may_change(request, obj) and not (obj is not None and _is_own(request, obj.user))  # type: ignore[attr-defined]

    def delete_view(self, request: Any, object_id: str, extra_context: Any = None) -> Any:
        row: Any = self.get_object(request, unquote(object_id))
        if row is not None and _is_own(request, row.user):
            self.message_user(request, "Remove your own second factor here, with your password.", messages.WARNING)
            return redirect("console:second-factor")
        return super().delete_view(request, object_id, extra_context)

    def has_add_permission(self, request: Any) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:  # noqa: ARG002
        return False


@admin.register(SecondFactor)
class SecondFactorAdmin(OwnedAdmin[SecondFactor]):
    """With the app and the recovery codes, its passkeys end."""

    list_display = ["user", "made_at", "app", "passkeys"]
    fields = ["user", "made_at", "app", "passkeys"]
    list_select_related = ["user"]
    search_fields = ["user__username"]

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).annotate(number=Count("passkeys"))

    def locked(self, rows: QuerySet[SecondFactor]) -> QuerySet[SecondFactor]:
        lock(second_factor__in=rows)
        return super().locked(rows)

    @admin.display(boolean=True)
    def app(self, row: SecondFactor) -> bool:
        return bool(row.secret)

    @admin.display
    def passkeys(self, row: Any) -> int:
        return int(row.number)


@admin.register(Passkey)
class PasskeyAdmin(OwnedAdmin[Passkey]):
    list_display = ["name", "owner", "host", "made_at", "last_used_at"]
    fields = ["name", "owner", "host", "made_at", "last_used_at"]
    list_select_related = ["second_factor__user"]
    search_fields = ["name", "second_factor__user__username"]

    @admin.display(ordering="second_factor__user__username")
    def owner(self, row: Passkey) -> str:
        return row.user.get_username()

    def locked(self, rows: QuerySet[Passkey]) -> QuerySet[Passkey]:
        """The accounts and their second factors first, as where the owner removes a passkey."""
        lock(second_factor__passkeys__in=rows)
        list(SecondFactor.objects.select_for_update(of=("self",)).filter(passkeys__in=rows).order_by("pk"))
        return super().locked(rows)

    def delete_model(self, request: Any, obj: Passkey) -> None:
        if not self.may_change(request, obj):
            raise PermissionDenied
        passkeys.remove(obj)


class Choice(AutocompleteSelect):
    def optgroups(self, name: str, value: Any, attrs: Any = None) -> Any:
        """Django queries every value that was sent, and raises an error for one that is no key."""
        keys = [one for one in map(str, value) if one.isascii() and one.isdecimal() and len(one) < MAX_DIGITS]
        return super().optgroups(name, keys, attrs)


class GrantForm(PlacedForm[RoleGrant]):
    def _get_validation_exclusions(self) -> set[str]:
        """Equal grants of people are refused, although the form does not have all columns of their key."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"from_claims"}


@admin.register(RoleGrant)
class RoleGrantAdmin(PlacedAdmin[RoleGrant]):
    """Those from claims follow the groups of the person: an edit would be undone by the next sign-in."""

    form = GrantForm
    list_display = ["role", "group", "user", "cluster", "namespace", "from_claims"]
    list_filter = ["role", "cluster", "namespace", "from_claims"]
    list_select_related = ["group", "user"]
    search_fields = ["user__username", "group__name", "namespace"]
    autocomplete_fields = ["user", "group"]
    fieldsets = [
        (None, {"fields": ["role"]}),
        ("To whom", {"fields": ["group", "user"], "description": "Choose an account or a group."}),
        ("Where", {"fields": ["cluster", "namespace"]}),
    ]

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **more: Any) -> Any:
        return super().formfield_for_foreignkey(db_field, request, widget=Choice(db_field, self.admin_site), **more)

    def has_change_permission(self, request: Any, obj: RoleGrant | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj is not None and obj.from_claims)
