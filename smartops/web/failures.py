"""Failed sign-ins, counted exactly across processes, and what they cost
(docs/adr/0038-sign-ins-are-slowed-down-per-client.md)."""

import hmac
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from secrets import token_urlsafe

from django.conf import settings
from django.core.signing import BadSignature
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest, Now
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from signals.lib.clock import database_now
from smartops.edge.proxies import network
from smartops.models import SignInFailures
from smartops.web import throttle
from smartops.web.peers import peer_of
from smartops.web.throttle import Allowance

DEVICE_COOKIE = "smartops_device"
DEVICE_KNOWN_FOR = timedelta(days=180)
BY_SECOND_FACTOR = "code."  # begins the name of a browser that has shown a second factor; no other begins so
Keys = Mapping[str, Allowance]


def attempt(keys: Keys) -> timedelta:
    """Counts a failure under each key, until `succeeded` takes it back, and returns zero. If one of them has to wait,
    it counts nothing, and returns how long."""
    _forget()
    rows = [SignInFailures(key=key) for key in sorted(keys)]
    with transaction.atomic():
        SignInFailures.objects.bulk_create(rows, ignore_conflicts=True)
        locked = SignInFailures.objects.select_for_update().filter(key__in=keys).order_by("key")
        found, now = list(locked), database_now()
        stored = [throttle.Failures(keys[row.key], row.count, row.last_at) for row in found]
        if left := throttle.wait(stored, now):
            return left
        for row in found:
            row.count, row.last_at = throttle.counted(row.count, row.last_at, now) + 1, now
        SignInFailures.objects.bulk_update(found, ["count", "last_at"])
    return throttle.NONE


def succeeded(keys: Keys) -> None:
    """Clears the failures of this account from this client. The others stay: an attacker with an account of his own
    must not clear those of his client."""
    rows = SignInFailures.objects.filter(key__in=keys)
    own = [key for key, allowance in keys.items() if allowance is throttle.ACCOUNT_OF_CLIENT]
    rows.filter(key__in=own).update(count=0)
    rows.exclude(key__in=own).update(count=Greatest(F("count") - 1, 0))


def keys_of(request: HttpRequest, account: str) -> Keys:
    """A browser that has signed in to this account before has a limit of its own, so nobody else can slow it down."""
    if device := device_of(request, account):
        return {key_of("device", device, account): throttle.ACCOUNT_OF_CLIENT}
    client = network(peer_of(request))
    return {
        key_of("client", client, account): throttle.ACCOUNT_OF_CLIENT,
        key_of("client", client): throttle.CLIENT,
        key_of("account", account): throttle.ACCOUNT,
    }


def passkey_keys(request: HttpRequest) -> Keys:
    """Before it is known whose passkey it is. A browser that has signed in before has a limit of its own."""
    device, _ = _remembered(request)
    return {key_of("passkey", device or network(peer_of(request))): throttle.PASSKEYS}


def device_of(request: HttpRequest, account: str) -> str:
    """The browser, if it has signed in to the account before; else empty."""
    device, owner = _remembered(request)
    return device if hmac.compare_digest(owner.encode(), account.encode()) else ""


def _remembered(request: HttpRequest) -> tuple[str, str]:
    """The browser, and the account that it has signed in to last. Both are empty if there is none."""
    try:
        value = request.get_signed_cookie(DEVICE_COOKIE, "", salt=DEVICE_COOKIE, max_age=DEVICE_KNOWN_FOR)
    except BadSignature:
        return "", ""
    device, _, owner = (value or "").partition(":")
    return device, owner


def remember(request: HttpRequest, response: HttpResponseBase, kind: str = "") -> HttpResponseBase:
    """This browser has signed in to the account. `kind`: BY_SECOND_FACTOR, or empty."""
    response.set_signed_cookie(
        DEVICE_COOKIE, f"{kind}{token_urlsafe(9)}:{request.user.get_username()}", salt=DEVICE_COOKIE,
        max_age=DEVICE_KNOWN_FOR, path=reverse("admin:login"), secure=settings.SESSION_COOKIE_SECURE, httponly=True,
        samesite="Lax",
    )  # fmt: skip
    return response


def paused(response: HttpResponseBase, wait: timedelta) -> HttpResponseBase:
    """429 with Retry-After, if the client has to wait."""
    if wait:
        response.status_code, response.headers["Retry-After"] = 429, str(throttle.seconds(wait))
    return response


def key_of(*parts: str) -> str:
    """Of what is counted, as kind, client and account. No names: people type passwords where the name belongs."""
    return hmac.new(settings.SECRET_KEY.encode(), "\0".join(parts).encode(), sha256).hexdigest()


def _forget() -> None:
    """Rows that another attempt has locked stay for the next time: waiting for them could end in a deadlock."""
    old = SignInFailures.objects.select_for_update(skip_locked=True).filter(last_at__lte=Now() - throttle.FORGET)
    with transaction.atomic():
        SignInFailures.objects.filter(pk__in=[row.pk for row in old[:1000]]).delete()
