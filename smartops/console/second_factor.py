"""The second factor of the own account: its page, the authenticator app, and the recovery codes. For each person who
has a password. Passkeys have a module of their own (passkeys.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qrcode
from django import forms
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from qrcode.image.svg import SvgPathImage

from smartops.console.acts import Confirmation, posted, respond
from smartops.console.pages import ConsoleRequest, personal
from smartops.console.password import confirm_password, replace_password
from smartops.people import totp
from smartops.people.passkeys import passkeys_of
from smartops.people.second_factor import (
    ISSUER,
    AlreadySetUpError,
    SecondFactor,
    new_secret,
    opened,
    remove_app,
    renew_codes,
    set_up,
)
from smartops.people.sessions import going_on

PENDING = "passkey"  # the key in the session of the passkey that is being added (passkeys.py)
SECRET = "second_factor_secret"  # noqa: S105 - the key in the session of the one that is not set up yet
PAGE = "console:second-factor"
CHANGED = "Your second factor was changed in another window. Nothing was done. Reload this page."
SESSIONS_END = "Your other sessions end."
CODES_END = "It is your last one: your recovery codes end with it, and your password alone signs you in again."


class PasswordConfirmationForm(forms.Form):
    """The password confirms it: an open session is not enough."""

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}), label="Your password"
    )

    def __init__(self, request: ConsoleRequest, user: User) -> None:
        super().__init__(posted(request), label_suffix="")
        self.request, self.user = request, user

    def clean_password(self) -> str:
        entered: str = self.cleaned_data["password"]
        reason = "The password was wrong (second factor)."
        confirm_password(self.request, self.user, entered, "The password is wrong.", reason)
        return entered

    @contextmanager
    def ending_other_sessions(self) -> Iterator[None]:
        """The same password with another salt: sessions that began in another way end. Raises ValidationError."""
        encoded = make_password(self.cleaned_data["password"])
        with going_on(self.request, self.user):
            yield
            replace_password(self.user, encoded)


class SetUpForm(PasswordConfirmationForm):
    code = forms.CharField(
        max_length=16,
        label="Code",
        help_text="The six digits that the app shows now.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
    field_order = ["code", "password"]


@personal
def second_factor(request: ConsoleRequest, user: User) -> HttpResponseBase:
    request.session.pop(PENDING, None)  # Cancel leads here: a hash of the password stays in no session
    context = {
        "stored": SecondFactor.objects.filter(user=user).first(),
        "passkeys": passkeys_of(user),
        "duty": settings.SMARTOPS_REQUIRE_MFA,
    }
    return render(request, "console/second_factor.html", context)


@personal
def app_remove(request: ConsoleRequest, user: User) -> HttpResponseBase:
    stored = SecondFactor.objects.filter(user=user).exclude(secret="").first()
    if stored is None:
        raise Http404
    more = "Your passkeys stay." if stored.passkeys.exists() else CODES_END
    text = f"The sign-in asks for no code of the app any more. {more} {SESSIONS_END}"
    asked = Confirmation("Remove", "Remove the authenticator app", text, reverse(PAGE), danger=True)
    form = PasswordConfirmationForm(request, user)

    def perform(_: dict[str, Any]) -> str:
        with form.ending_other_sessions():
            remove_app(user, stored.secret)
        return "The authenticator app is removed."

    return respond(request, form, asked, perform)


@personal
def app(request: ConsoleRequest, user: User) -> HttpResponseBase:
    """Each visit gets a key of its own: somebody may have read an earlier one. No cache may keep it."""
    secret = request.session.get(SECRET, "") if request.method == "POST" else ""
    plain = opened(secret) if secret else None
    if plain is None:
        request.session[SECRET] = secret = new_secret()
        plain = opened(secret)
        assert plain
    asked = Confirmation(
        "Set up",
        "Set up an authenticator app",
        "Scan the QR code with the app, or type the key into it. From then on, the sign-in asks for a code of the app "
        f"after your password. {SESSIONS_END}",
        reverse(PAGE),
        details="console/second_factor_key.html",
    )
    form = SetUpForm(request, user)

    def perform(_: dict[str, Any]) -> str | HttpResponse:
        codes = _store(form, secret)
        return recovery_codes_page(request, codes) if codes else "The authenticator app is set up."

    picture = _picture(totp.address(plain, user.get_username(), ISSUER))
    answer = respond(request, form, asked, perform, key=totp.key(plain), picture=picture)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _store(form: SetUpForm, secret: str) -> list[str]:
    try:
        with form.ending_other_sessions():
            codes = set_up(form.user, secret, form.cleaned_data["code"])
            if codes is None:
                message = "The code is wrong. Check the clock of the device, and enter the next code."
                raise forms.ValidationError({"code": message})
    except AlreadySetUpError:  # another window of this person set it up just now
        raise forms.ValidationError("Your account already has an authenticator app. Reload this page.") from None
    except IntegrityError:  # another window removed the last factor, or set up the first one
        raise forms.ValidationError(CHANGED) from None
    del form.request.session[SECRET]
    return codes


@personal
def recovery_codes(request: ConsoleRequest, user: User) -> HttpResponseBase:
    if not SecondFactor.objects.filter(user=user).exists():
        raise Http404
    text = "You get ten new codes. The earlier ones are not accepted any more."
    asked = Confirmation("Replace", "Replace your recovery codes", text, reverse(PAGE))

    def perform(_: dict[str, Any]) -> HttpResponse:
        try:
            return recovery_codes_page(request, renew_codes(user))
        except SecondFactor.DoesNotExist:
            raise forms.ValidationError(CHANGED) from None

    return respond(request, PasswordConfirmationForm(request, user), asked, perform)


def recovery_codes_page(request: ConsoleRequest, codes: list[str]) -> HttpResponse:
    """The only answer that has them. No cache may keep it."""
    answer = render(request, "console/recovery_codes.html", {"codes": codes, "back": reverse(PAGE)})
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _picture(address: str) -> SafeString:
    """A QR code, as the element that a page contains: the policy of content allows no other source."""
    drawn: str = qrcode.make(address, image_factory=SvgPathImage).to_string(encoding="unicode")
    return mark_safe(drawn)  # noqa: S308 - a path of numbers
