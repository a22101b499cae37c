"""The second factor of the own account: set it up, and remove it. For each person who has a password."""

from typing import Any

import qrcode
from django import forms
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from qrcode.image.svg import SvgPathImage

from smartops.console.acts import Confirmation, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, personal
from smartops.console.password import confirm_password
from smartops.people import totp
from smartops.people.second_factor import ISSUER, SecondFactor, new_secret, opened, set_up

SECRET = "second_factor_secret"  # noqa: S105 - the key in the session of the one that is not set up yet


class RemoveForm(forms.Form):
    """The password confirms it: an open session is not enough."""

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}), label="Your password"
    )

    def __init__(self, request: ConsoleRequest, user: User) -> None:
        super().__init__(posted(request), label_suffix="")
        self.request, self.user = request, user

    def clean_password(self) -> str:
        entered: str = self.cleaned_data["password"]
        if not confirm_password(self.request, self.user, entered, "The password was wrong (second factor)."):
            raise ValidationError("The password is wrong.")
        return entered


class SetUpForm(RemoveForm):
    code = forms.CharField(
        max_length=16,
        label="Code",
        help_text="The six digits that the app shows now.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
    field_order = ["code", "password"]


@personal
def second_factor(request: ConsoleRequest, user: User) -> HttpResponseBase:
    stored = SecondFactor.objects.filter(user=user).first()
    return _remove(request, user, stored) if stored else _set_up(request, user)


def _remove(request: ConsoleRequest, user: User, stored: SecondFactor) -> HttpResponseBase:
    left = f"{len(stored.recovery)} recovery code{'' if len(stored.recovery) == 1 else 's'} left"
    asked = Confirmation(
        "Remove",
        "Your second factor",
        f"It was set up at {stored.made_at:%Y-%m-%d %H:%M} UTC. You have {left}. To get another app or new "
        "recovery codes, remove it, and set it up again.",
        way_back(request, reverse("console:overview")),
        danger=True,
    )

    def perform(_: dict[str, Any]) -> str:
        SecondFactor.objects.filter(user=user, secret=stored.secret).delete()
        return "Your second factor is removed."

    return respond(request, RemoveForm(request, user), asked, perform)


def _set_up(request: ConsoleRequest, user: User) -> HttpResponseBase:
    """The answer to the POST is the only one that has the recovery codes. No cache may keep it."""
    secret = request.session.get(SECRET, "")
    plain = opened(secret) if secret else None
    if plain is None:
        request.session[SECRET] = secret = new_secret()
        plain = opened(secret)
        assert plain
    form, codes = SetUpForm(request, user), None
    if form.is_valid():
        codes = _store(form, secret)
    duty = "Your account must have one before you open another page. " if settings.SMARTOPS_REQUIRE_MFA else ""
    asked = Confirmation(
        "Set up",
        "Set up a second factor",
        f"{duty}Scan the QR code with an authenticator app, or type the key into it. From then on, the sign-in asks "
        "for a code of the app after your password. Your other sessions end.",
        way_back(request, reverse("console:overview")),
        details="console/second_factor_key.html",
    )
    context = {"form": form, "confirmation": asked, "codes": codes, "key": totp.key(plain)}
    context["picture"] = _picture(totp.address(plain, user.get_username(), ISSUER))
    template = "console/recovery_codes.html" if codes else "console/act.html"
    answer = render(request, template, context, status=422 if form.errors else 200)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _store(form: SetUpForm, secret: str) -> list[str] | None:
    try:
        with transaction.atomic():
            codes = set_up(form.user, secret, form.cleaned_data["code"])
            if codes is not None:  # the same password with another salt: sessions that began without a code end
                form.user.set_password(form.cleaned_data["password"])
                form.user.save(update_fields=["password"])
    except IntegrityError:  # another window of this person set it up just now
        form.add_error(None, "Your account already has a second factor. Reload this page.")
        return None
    if codes is None:
        form.add_error("code", "The code is wrong. Check the clock of the device, and enter the next code.")
    else:
        update_session_auth_hash(form.request, form.user)
        del form.request.session[SECRET]
    return codes


def _picture(address: str) -> SafeString:
    """A QR code, as the element that a page contains: the policy of content allows no other source."""
    drawn: str = qrcode.make(address, image_factory=SvgPathImage).to_string(encoding="unicode")
    return mark_safe(drawn)  # noqa: S308 - a path of numbers
