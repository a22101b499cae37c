"""The passkeys of the own account: add, rename, remove.

A passkey is added in two steps. The first one takes the name and the password. The second one has the options for the
browser, and posts its answer. In between, the session has the challenge, for five minutes.
"""

import json
from base64 import b64decode, b64encode
from secrets import token_bytes
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from signals import actors
from signals.lib.clock import database_now
from smartops.console.acts import Confirmation, posted, respond
from smartops.console.pages import ConsoleRequest, personal
from smartops.console.password import replace_password
from smartops.console.second_factor import (
    CODES_END,
    PAGE,
    PENDING,
    SESSIONS_END,
    PasswordConfirmationForm,
    recovery_codes_page,
)
from smartops.people import passkeys, webauthn
from smartops.people.passkeys import LONGEST_NAME, Passkey
from smartops.people.second_factor import SecondFactor, new_handle
from smartops.people.sessions import going_on
from smartops.people.webauthn import CHALLENGE, VALID_FOR, InvalidAnswerError
from smartops.web import sign_ins
from smartops.web.passkeys import site_of

TOO_LATE = "It took too long, or was begun in another window. Start again."


class NameForm(forms.Form):
    name = forms.CharField(max_length=LONGEST_NAME, help_text="By which you will know it, for instance: Work laptop.")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise ValidationError("The name has characters that cannot be shown.")
        return name


class AddForm(NameForm, PasswordConfirmationForm):
    field_order = ["name", "password"]


class RenameForm(NameForm):
    def __init__(self, request: ConsoleRequest, passkey: Passkey) -> None:
        super().__init__(posted(request), label_suffix="", initial={"name": passkey.name})


@personal
def add(request: ConsoleRequest, user: User) -> HttpResponseBase:
    if "answer" in request.POST:
        return _store(request, user)
    first = not SecondFactor.objects.filter(user=user).exists()
    more = f"You get recovery codes. From then on, your password alone does not sign you in. {SESSIONS_END}"
    text = f"Your device asks for your fingerprint, your face or its PIN. {more if first else SESSIONS_END}"
    asked = Confirmation("Next", "Add a passkey", text, reverse(PAGE), details="console/passkey_support.html")

    def perform(given: dict[str, Any]) -> HttpResponse:
        return _ask(request, user, given["name"], given["password"])

    return respond(request, AddForm(request, user), asked, perform)


def _ask(request: ConsoleRequest, user: User, name: str, password: str) -> HttpResponse:
    """The second step. `password` of the session: the same password with another salt. It is stored with the passkey,
    so that sessions which began without one end at that moment. `was`: says whether the account has another password
    by then."""
    stored = SecondFactor.objects.filter(user=user).first()
    challenge, handle = token_bytes(CHALLENGE), bytes(stored.handle) if stored else new_handle()
    known = [bytes(one.credential_id) for one in passkeys.passkeys_of(user)]
    try:
        options = webauthn.creation_options(site_of(request), challenge, user.get_username(), handle, known)
    except InvalidAnswerError as error:
        raise ValidationError(str(error)) from error
    request.session[PENDING] = {
        "challenge": b64encode(challenge).decode(),
        "handle": b64encode(handle).decode(),
        "name": name,
        "was": user.get_session_auth_hash(),
        "password": make_password(password),
        "until": database_now().timestamp() + VALID_FOR,
    }
    context = {"options": json.dumps(options), "name": name, "back": reverse(PAGE)}
    return render(request, "console/passkey_create.html", context)


def _store(request: ConsoleRequest, user: User) -> HttpResponseBase:
    pending: dict[str, Any] = request.session.pop(PENDING, {})
    try:
        codes = _added(request, user, pending)
    except ValidationError as error:
        messages.error(request, error.message)
        return redirect(PAGE)
    if codes:
        return recovery_codes_page(request, codes)
    messages.success(request, f"The passkey “{pending['name']}” is added. Your other sessions have ended.")
    return redirect(PAGE)


def _added(request: ConsoleRequest, user: User, pending: dict[str, Any]) -> list[str]:
    """Returns the recovery codes that were made."""
    if not pending or pending["until"] < database_now().timestamp():
        raise ValidationError(TOO_LATE)
    if not constant_time_compare(pending["was"], user.get_session_auth_hash()):
        raise ValidationError("Your password was changed in another window. Start again.")
    challenge, handle = b64decode(pending["challenge"]), b64decode(pending["handle"])
    try:
        key = webauthn.verify_creation(site_of(request), challenge, handle, request.POST["answer"])
    except InvalidAnswerError as error:
        sign_ins.failed(request, actors.user(user.get_username()), f"New passkey: {error}")
        raise ValidationError("The passkey was not accepted. Start again.") from error
    with going_on(request, user):
        codes = passkeys.add(user, key, pending["name"])
        replace_password(user, pending["password"])
    return codes


@personal
def rename(request: ConsoleRequest, user: User, pk: int) -> HttpResponseBase:
    passkey = _own(user, pk)
    asked = Confirmation("Rename", "Rename the passkey", "Only you and administrators see the name.", reverse(PAGE))

    def perform(given: dict[str, Any]) -> str:
        Passkey.objects.filter(pk=passkey.pk).update(name=given["name"])
        return f"The passkey is called “{given['name']}” now."

    return respond(request, RenameForm(request, passkey), asked, perform)


@personal
def remove(request: ConsoleRequest, user: User, pk: int) -> HttpResponseBase:
    passkey = _own(user, pk)
    others = passkeys.passkeys_of(user).exclude(pk=pk).exists() or passkey.second_factor.secret
    text = f"It signs you in no more. {'' if others else f'{CODES_END} '}{SESSIONS_END} Remove it on your device, too."
    title = f"Remove the passkey “{passkey.name}”"
    asked = Confirmation("Remove", title, text, reverse(PAGE), danger=True)
    form = PasswordConfirmationForm(request, user)

    def perform(_: dict[str, Any]) -> str:
        with form.ending_other_sessions():
            passkeys.remove(passkey)
        return f"The passkey “{passkey.name}” is removed."

    return respond(request, form, asked, perform)


def _own(user: User, pk: int) -> Passkey:
    """Of somebody else: the same as none."""
    return get_object_or_404(passkeys.passkeys_of(user).select_related("second_factor__user"), pk=pk)
