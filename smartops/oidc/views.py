"""The two addresses of a sign-in by an OpenID provider: where it starts, and where the provider sends the browser back.

Each start counts until the sign-in succeeds: it asks the provider for its addresses, and stores a session.
Each return counts as a failed sign-in of its client until it succeeds, as a wrong password does. One that no sign-in of
this browser has asked for does not count: another site can make a browser send any number of them.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from secrets import token_urlsafe
from typing import Any

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.internal.statekit import STATE_TTL
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from django.conf import settings
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from smartops.edge.proxies import network
from smartops.oidc.accounts import page_of_refusal
from smartops.oidc.client import Client, Provider, configured
from smartops.web import sign_ins, throttle
from smartops.web.failures import Keys, attempt, key_of, paused, succeeded
from smartops.web.peers import peer_of

View = Callable[[HttpRequest], HttpResponseBase]
# What a provider that does not answer, or not as the specification says, leads to.
FAULTS = (OAuth2Error, requests.RequestException, KeyError, TypeError, ValueError)


def _of_sign_in(view: View) -> View:
    @never_cache
    @require_GET
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponseBase:
        if not settings.SMARTOPS_OIDC_ISSUER:
            raise Http404("No OpenID provider is configured.")
        try:
            try:
                return view(request)
            except FAULTS as error:
                get_adapter().on_authentication_error(request, Provider(request, configured()), exception=error)
                raise
        except ImmediateHttpResponse as early:
            response: HttpResponseBase = early.response
            return response

    return wrapped


@_of_sign_in
def start(request: HttpRequest) -> HttpResponseBase:
    """To the provider. `next`: the path to open after the sign-in. An image or frame in the page of another site starts
    nothing, and counts nothing. Browsers say what a request is for, at addresses with HTTPS and at localhost."""
    if request.headers.get("Sec-Fetch-Dest", "document") != "document":
        return page_of_refusal(request, "A sign-in starts from a page, not from within one.", 403)
    if wait := attempt(_starts(request)):
        return _too_many(request, "sign-ins that were begun and not ended", wait)
    response = Provider(request, configured()).redirect_from_request(request)
    if request.user.is_anonymous:
        request.session.set_expiry(STATE_TTL)  # it has nothing but the state; sign_in.py ends this limit
    return response


class Return(OAuth2CallbackView):  # type: ignore[misc]
    """The ID token has to have the nonce of this sign-in."""

    def _get_state(self, request: HttpRequest, provider: Provider) -> Any:
        state, response = super()._get_state(request, provider)
        self.adapter.nonce = (state or {}).get("nonce") or token_urlsafe(24)
        if state is not None and (wait := attempt(_keys(request))):
            return None, _too_many(request, "failed sign-ins", wait)
        return state, response


@_of_sign_in
def callback(request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = Return.adapter_view(Client(request))(request)
    if getattr(request, "signed_in_by", ""):
        succeeded({**_keys(request), **_starts(request)})
        # The groups are read at each sign-in, so there must be one from time to time.
        request.session.set_expiry(timezone.now() + timedelta(hours=settings.SMARTOPS_OIDC_SESSION_HOURS))
    return response


def _keys(request: HttpRequest) -> Keys:
    return {key_of("oidc", network(peer_of(request))): throttle.CLIENT}


def _starts(request: HttpRequest) -> Keys:
    return {key_of("oidc start", network(peer_of(request))): throttle.STARTS}


def _too_many(request: HttpRequest, what: str, wait: timedelta) -> HttpResponseBase:
    sign_ins.throttled(request, "")
    text = f"Too many {what}. Try again in {throttle.seconds(wait)} s."
    return paused(page_of_refusal(request, text, 429), wait)
