"""The page on which a person changes their own password, with or without a role and staff status."""

from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http.response import HttpResponseBase
from django.urls import reverse

from smartops.console.acts import Confirmation, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, personal
from smartops.people.sessions import going_on
from smartops.web import throttle
from smartops.web.failures import key_of
from smartops.web.proof import UnprovedError, proving


class PasswordForm(PasswordChangeForm):
    """An open session gives no free guesses of the password: failures cost pauses, and are rows, as at sign-in."""

    # For password managers.
    account = forms.CharField(
        required=False, widget=forms.TextInput(attrs={"readonly": True, "autocomplete": "username"})
    )
    field_order = ["account", "old_password", "new_password1", "new_password2"]

    def __init__(self, request: ConsoleRequest, user: User) -> None:
        super().__init__(user, posted(request), label_suffix="")
        self.request = request
        self.fields["account"].initial = user.get_username()

    def clean_old_password(self) -> str:
        entered: str = self.cleaned_data["old_password"]
        reason = "The old password was wrong, on the page that changes it."
        message = str(self.error_messages["password_incorrect"])
        confirm_password(self.request, self.user, entered, message, reason)
        return entered


def confirm_password(request: ConsoleRequest, user: User, entered: str, message: str, reason: str) -> None:
    """Raises UnprovedError, with the message, unless it is the password of the account, and ThrottledError while the
    account has to wait after failures. `reason`: of the row."""
    keys = {key_of("password", str(user.pk)): throttle.ACCOUNT_OF_CLIENT}
    with proving(request, keys, user.get_username(), "wrong passwords"):
        # Not that of the account: it would store a hash of a newer kind, also over a password that was set just now.
        if not check_password(entered, user.password):
            raise UnprovedError(message, reason, "password_incorrect")


def replace_password(user: User, encoded: str) -> None:
    """Stores the hash in the place of that which `user` was loaded and checked with. All sessions of the account end
    but one that is `going_on`. An administrator may have set another password since: that one stays. Raises
    ValidationError."""
    if not User.objects.filter(pk=user.pk, password=user.password).update(password=encoded):
        raise ValidationError("The password of your account was changed at the same time. Nothing was done.")
    user.password = encoded


@personal
def password(request: ConsoleRequest, user: User) -> HttpResponseBase:
    form = PasswordForm(request, user)
    confirmation = Confirmation(
        "Change password",
        "Change your password",
        "Your other sessions end. This one goes on.",
        way_back(request, reverse("console:overview")),
    )

    def perform(given: dict[str, Any]) -> str:
        encoded = make_password(given["new_password1"])
        with going_on(request, user):
            replace_password(user, encoded)
        return "Your password is changed. Your other sessions have ended."

    return respond(request, form, confirmation, perform)
