"""The second step of a sign-in, and the accounts that have to set up a second factor first.

Between the steps nobody is signed in. The session knows whose password was right, for five minutes, and nothing but
this page reads it. It ends with the sessions of the account, until the sign-in is complete.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import MiddlewareNotUsed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.decorators import async_only_middleware
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from signals.lib.clock import database_now
from smartops.people.passkeys import passkeys_of
from smartops.people.second_factor import Proof, SecondFactor, is_missing, verify
from smartops.people.sessions import HALF
from smartops.web import throttle
from smartops.web.failures import BY_SECOND_FACTOR, device_of, key_of, remember
from smartops.web.passkeys import PasskeyForm, enter, options_for
from smartops.web.proof import UnprovedError, paused_by, proving
from smartops.web.types import GetResponse

VALID_FOR = 300  # seconds
# What an account without its second factor may open.
ALLOWED = (
    "console:second-factor", "console:second-factor-app", "console:passkey-add",
    "admin:login", "second-step", "admin:logout", "console:sign-out-everywhere",
)  # fmt: skip


class CodeForm(forms.Form):
    """Wrong codes cost pauses as wrong passwords do, and have a count of their own: a right password does not clear it.
    It is that of the account: who knows the password must not get more guesses by more clients. A browser that has
    signed in to the account before has its own, so nobody else can slow it down."""

    code = forms.CharField(
        max_length=64,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "autocapitalize": "none"}),
    )

    def __init__(self, request: HttpRequest, user: User, data: Any = None) -> None:
        super().__init__(data, label_suffix=":")
        self.request, self.user = request, user

    def clean_code(self) -> str:
        name = self.user.get_username()
        device = device_of(self.request, name)
        # The password alone gives any number of cookies, so only those of a right code count for themselves.
        own = device if device.startswith(BY_SECOND_FACTOR) else ""
        keys = {key_of("code", str(self.user.pk), own): throttle.ACCOUNT_OF_CLIENT}
        with proving(self.request, keys, name, "wrong codes"):
            proof = verify(self.user, self.cleaned_data["code"])
            if proof is None:
                message = "The code is wrong, or was used before. Wait for the next one."
                raise UnprovedError(message, "The code of the second factor was wrong.")
        return proof


def begin(request: HttpRequest, user: Any, to: str) -> HttpResponseBase:
    """After the right password. A new session begins, as the old one may belong to another account."""
    logout(request)
    request.session[HALF] = {
        "user": user.pk,
        "backend": user.backend,
        "password": user.get_session_auth_hash(),
        "until": database_now().timestamp() + VALID_FOR,
        "to": to,
    }
    return redirect("second-step")


@never_cache
@sensitive_post_parameters("code", "answer")
def second_step(request: HttpRequest) -> HttpResponseBase:
    """429 with Retry-After while the account has to wait. Without a first step it leads there."""
    half: dict[str, Any] = request.session.get(HALF, {})
    user = _half_signed_in(half)
    if user is None:
        request.session.pop(HALF, None)
        return redirect("admin:login")
    if request.method != "POST":
        return _page(request, user, CodeForm(request, user))
    if "answer" in request.POST:
        return _with_passkey(request, user, half["to"])
    form = CodeForm(request, user, request.POST)
    if not form.is_valid():
        return paused_by(_page(request, user, form), form)
    request.session.set_expiry(None)  # it may be that of a sign-in by the provider which was begun in between
    request.signed_in_by = form.cleaned_data["code"]  # type: ignore[attr-defined]
    login(request, user, half["backend"])
    return remember(request, redirect(half["to"]), BY_SECOND_FACTOR)


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, **_: Any) -> None:
    """The first step ends with each sign-in, also with that of another account. Until then, the row of the session has
    its account from the first step."""
    request.session.pop(HALF, None)


def _with_passkey(request: HttpRequest, user: User, to: str) -> HttpResponseBase:
    if not request.POST["answer"]:
        return options_for(request, user)
    form = PasskeyForm(request, user)
    if form.is_valid() and (entered := enter(form, Proof.PASSWORD_AND_PASSKEY, to)):
        return entered
    return paused_by(_page(request, user, CodeForm(request, user), form.errors["answer"]), form)


def _page(request: HttpRequest, user: User, form: CodeForm, refused: Any = None) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "Second factor", "form": form, "account": user}
    context["app"] = SecondFactor.objects.filter(user=user).exclude(secret="").exists()
    context |= {"passkeys": passkeys_of(user).exists(), "refused": refused}
    return render(request, "sign_in/code.html", context)


def _half_signed_in(half: dict[str, Any]) -> User | None:
    """None if it is too long ago, or if the account is not active or has another password since."""
    if not half or half["until"] < database_now().timestamp():
        return None
    user = User.objects.filter(pk=half["user"], is_active=True).first()
    same = user is not None and constant_time_compare(half["password"], user.get_session_auth_hash())
    return user if same else None


@async_only_middleware
def required(get_response: GetResponse) -> GetResponse:
    """Leads an account without a second factor to the page that sets it up, if SMARTOPS_REQUIRE_MFA asks for it."""
    if not settings.SMARTOPS_REQUIRE_MFA:
        raise MiddlewareNotUsed
    missing: Callable[[Any], Any] = sync_to_async(lambda request: is_missing(request.user))

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path in map(reverse, ALLOWED) or not await missing(request):
            return await get_response(request)
        page = reverse("console:second-factor")
        if "HX-Request" in request.headers:
            return HttpResponse(status=403, headers={"HX-Redirect": page})
        return redirect(page)

    return middleware
