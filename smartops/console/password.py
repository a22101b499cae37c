"""The page on which a person changes their own password, with or without a role and staff status."""

from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http.response import HttpResponseBase
from django.urls import reverse

from signals import actors
from smartops.console.acts import Confirmation, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, personal
from smartops.web import sign_ins, throttle
from smartops.web.failures import attempt, key_of, succeeded


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
        if not confirm_password(
            self.request, self.user, entered, "The old password was wrong, on the page that changes it."
        ):
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return entered


def confirm_password(request: ConsoleRequest, user: User, entered: str, reason: str) -> bool:
    """Whether it is the password of the account. `reason`: of the row, if it is not. Raises ValidationError while the
    account has to wait after failures."""
    keys = {key_of("password", str(user.pk)): throttle.ACCOUNT_OF_CLIENT}
    if wait := attempt(keys):
        sign_ins.throttled(request, user.get_username())
        raise ValidationError(f"Too many wrong passwords. Try again in {throttle.seconds(wait)} s.")
    if not user.check_password(entered):
        sign_ins.failed(request, actors.user(user.get_username()), reason)
        return False
    succeeded(keys)
    return True


@personal
def password(request: ConsoleRequest, user: User) -> HttpResponseBase:
    form = PasswordForm(request, user)
    confirmation = Confirmation(
        "Change password",
        "Change your password",
        "Your other sessions end. This one goes on.",
        way_back(request, reverse("console:overview")),
    )

    def perform(_: dict[str, Any]) -> str:
        update_session_auth_hash(request, form.save())
        return "Your password is changed. Your other sessions have ended."

    return respond(request, form, confirmation, perform)
