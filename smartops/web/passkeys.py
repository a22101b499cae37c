"""Sign-in with a passkey: by itself, or in place of the code after a password.

A page posts twice. Without an answer it gets the options for the browser, and a cookie with their challenge: nothing is
stored for somebody who is not signed in. With the answer it signs in. The cookie binds the challenge to the browser;
the row of the passkey says which challenges are used (smartops/people/passkeys.py).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from secrets import token_bytes

from django import forms
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.signing import BadSignature
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from signals import actors
from signals.lib.clock import database_now
from smartops.people import passkeys, webauthn
from smartops.people.passkeys import Passkey
from smartops.people.second_factor import Proof
from smartops.people.sessions import lock
from smartops.people.webauthn import CHALLENGE, VALID_FOR, InvalidAnswerError, Site
from smartops.web import sign_ins
from smartops.web.failures import BY_SECOND_FACTOR, passkey_keys, remember
from smartops.web.proof import UnprovedError, proving

COOKIE = "smartops_challenge"
REFUSED = "The passkey was not accepted. Try again, or sign in with your password."


def site_of(request: HttpRequest) -> Site:
    """As the browser has it. Django's protection against forgery has compared the header Origin with the host and the
    scheme that the proxies report, and with CSRF_TRUSTED_ORIGINS. The client itself names the port of that host, and a
    server at another port could pass answers on: a port other than that of HTTPS needs a trusted origin. Raises
    InvalidAnswerError."""
    origin = request.headers.get("Origin") or f"{request.scheme}://{request.get_host()}"
    site = Site.of(origin)
    if site.host != "localhost" and origin != f"https://{site.host}" and origin not in settings.CSRF_TRUSTED_ORIGINS:
        raise InvalidAnswerError(f"Passkeys at {origin} need it in SMARTOPS_CSRF_TRUSTED_ORIGINS.")
    return site


def options_for(request: HttpRequest, user: User | None = None) -> HttpResponseBase:
    """The options as JSON. Without a user they are the same for everybody: they say nothing of accounts. 400 with
    `{"why": text}` if there is no passkey to ask for."""
    try:
        site = site_of(request)
    except InvalidAnswerError as error:
        return JsonResponse({"why": str(error)}, status=400)
    known = passkeys.passkeys_of(user).filter(host=site.host) if user else Passkey.objects.none()
    ids = [bytes(one.credential_id) for one in known]
    if user and not ids:
        return JsonResponse({"why": f"Your account has no passkey for {site.host}."}, status=400)
    challenge = token_bytes(CHALLENGE)
    response = JsonResponse(webauthn.request_options(site, challenge, ids))
    response.set_signed_cookie(
        COOKIE, f"{urlsafe_b64encode(challenge).decode()} {database_now().isoformat()}", salt=COOKIE, max_age=VALID_FOR,
        path=reverse("admin:login"), secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Strict",
    )  # fmt: skip
    return response


class PasskeyForm(forms.Form):
    """`cleaned_data["answer"]` is the passkey that has signed the challenge of this browser. `user`: whose it must be.
    A signature cannot be guessed, so failures count under the client only, and nobody keeps the owner out. What was
    wrong is in the record; a person cannot do anything about it."""

    answer = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, request: HttpRequest, user: User | None = None) -> None:
        super().__init__(request.POST)
        self.request, self.user = request, user

    def clean_answer(self) -> Passkey:
        account = self.user.get_username() if self.user else ""
        with proving(self.request, passkey_keys(self.request), account, "failed sign-ins"):
            challenge, made_at = self._challenge()
            passkey = self._named()
            self._check(passkey, challenge, made_at)
        return passkey

    def _named(self) -> Passkey:
        try:
            passkey = passkeys.find(webauthn.credential_id_of(self.cleaned_data["answer"]))
        except InvalidAnswerError as error:
            raise UnprovedError(REFUSED, f"Passkey: {error}") from error
        if passkey is None:
            raise UnprovedError(REFUSED, "Passkey: No account has this passkey.")
        return passkey

    def _check(self, passkey: Passkey, challenge: bytes, made_at: datetime) -> None:
        try:
            if self.user not in (None, passkey.user):
                raise InvalidAnswerError("The password was that of another account.")
            if not passkey.user.is_active or not passkey.user.has_usable_password():
                raise InvalidAnswerError("The account is not active, or has no password.")
            answer: str = self.cleaned_data["answer"]
            signatures = webauthn.verify_signature(site_of(self.request), challenge, passkey.key, answer)
            if not passkeys.use(passkey, signatures, made_at):
                raise InvalidAnswerError("The answer was used before.")
        except InvalidAnswerError as error:
            reason = f"Passkey “{passkey.name}”: {error}"
            raise UnprovedError(REFUSED, reason, account=passkey.user.get_username()) from error

    def _challenge(self) -> tuple[bytes, datetime]:
        """And when it was made."""
        try:
            challenge, _, made_at = (self.request.get_signed_cookie(COOKIE, "", salt=COOKIE) or "").partition(" ")
        except BadSignature:
            challenge, made_at = "", ""
        made = datetime.fromisoformat(made_at) if made_at else None
        if made is None or made < database_now() - timedelta(seconds=VALID_FOR):
            reason = "Passkey: The challenge is too old, or of another browser."
            raise UnprovedError("The sign-in took too long. Try again.", reason)
        return urlsafe_b64decode(challenge), made


def enter(form: PasskeyForm, proof: Proof, to: str) -> HttpResponseBase | None:
    """Signs in. A new session begins, as the old one may belong to another account. None, with an error in the form, if
    the passkey was removed after the check. Its row is locked until the session is stored: who removes the passkey
    later ends this session, too."""
    request, passkey = form.request, form.cleaned_data["answer"]
    with transaction.atomic():
        lock(pk=passkey.user.pk)
        if not Passkey.objects.select_for_update().filter(pk=passkey.pk):
            reason = f"Passkey “{passkey.name}”: It was removed during the sign-in."
            sign_ins.failed(request, actors.user(passkey.user.get_username()), reason)
            form.add_error("answer", REFUSED)
            return None
        request.session.flush()
        request.signed_in_by = f"{proof}: {passkey.name}"  # type: ignore[attr-defined]
        login(request, passkey.user, settings.AUTHENTICATION_BACKENDS[0])
        request.session.save()
    response = remember(request, redirect(to), BY_SECOND_FACTOR)
    response.delete_cookie(COOKIE, path=reverse("admin:login"), samesite="Strict")
    return response
