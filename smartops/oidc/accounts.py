"""The account of a person whom the OpenID provider has signed in, and its role grants.

An account is found by the issuer and the subject of the ID token, and by nothing else: an equal name or address is no
proof. Role grants that people made are never touched. (docs/adr/0055-oidc-groups-are-role-grants.md)
"""

import re
from itertools import count
from typing import Any
from unicodedata import normalize

import requests
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from signals import actors
from signals.lib.acting import acting
from smartops.models import RoleGrant
from smartops.oidc.client import Provider, configured
from smartops.oidc.transport import Session
from smartops.people.access import Access, access_of
from smartops.people.claims import groups_in
from smartops.people.roles import Place, Role
from smartops.web import sign_ins

ACTOR = actors.system("oidc")
LONGEST = 140  # characters of a name, before the number that makes it unique
MAX_NAMED = 20  # groups that a page or the history names
LONGEST_GROUP = 100  # characters of each


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def is_safe_url(self, url: str | None) -> bool:
        """A path of this site: no other host, be it allowed or not."""
        return bool(url) and str(url).startswith("/") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """The pages say who has signed in."""

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """SmartOps sends no mail. Sign-ins and changes are in the audit."""


class Identities(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def get_provider(self, request: HttpRequest, provider: str, client_id: str | None = None) -> Provider:  # noqa: ARG002
        return Provider(request, configured())

    def get_requests_session(self) -> Session:
        return Session()

    def list_apps(self, *args: Any, **kwargs: Any) -> list[SocialApp]:  # noqa: ARG002
        return [configured()]

    def pre_social_login(self, request: HttpRequest, login: SocialLogin) -> None:
        """Makes the account or finds it, and gives it what the groups give. Ends the sign-in of a person who has no
        access after that. allauth goes on with the others."""
        if login.is_existing and not login.user.is_active:
            raise refused(request, "Your account is deactivated.", login.user)
        groups = groups_in(login.claims.get(settings.SMARTOPS_OIDC_GROUPS_CLAIM))
        if not login.is_existing and not settings.SMARTOPS_OIDC_ROLES.granted(groups):
            raise refused(request, _no_access(groups))
        try:
            with transaction.atomic(), acting(ACTOR, reason=f"Groups of {login.account.uid}: {_listed(groups)}"):
                if not login.is_existing:
                    self.save_user(request, login)
                access = grant(login.user, groups)
        except IntegrityError:  # another window of this person got the account just now
            raise refused(request, "Another sign-in ran at the same time. Try again.", status=409) from None
        if not access.places:
            raise refused(request, _no_access(groups), login.user)
        request.signed_in_by = settings.SMARTOPS_OIDC_ISSUER  # type: ignore[attr-defined]

    def save_user(self, request: HttpRequest, login: SocialLogin, form: Any = None) -> User:  # noqa: ARG002
        # Of two persons with one name, one waits here for the other. The database takes `ana` and `Ana` for two names.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('smartops name of an account'))")
        login.user.username = free_name(login.user.username)
        login.user.set_unusable_password()
        login.save(request)
        user: User = login.user
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Provider,
        error: str = AuthError.UNKNOWN,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        name = provider.name
        if error == AuthError.CANCELLED:
            raise refused(request, f"You cancelled the sign-in with {name}, or {name} did not allow it.")
        if isinstance(exception, requests.RequestException):
            why = f"{name} cannot be reached. Try again later, or sign in with a local account."
            raise refused(request, why, status=503, detail=f"OpenID provider: {type(exception).__name__}")
        if exception is not None:
            why = f"The answer of {name} is not valid. Try again. If it fails again, report it to an administrator."
            raise refused(request, why, detail=_safe(exception))
        if (extra_context or {}).get("state") is not None:
            why = f"{name} reported an error: {_code(request.GET.get('error', ''))}. Report it to an administrator."
            raise refused(request, why)
        raise refused(request, "This sign-in is too old, or began in another browser. Start again.")


def grant(user: User, groups: frozenset[str]) -> Access:
    """Makes the grants from claims those that the groups give. Each changed row is a row of the history."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    roles = settings.SMARTOPS_OIDC_ROLES
    wanted = roles.granted(groups)
    for row in RoleGrant.objects.filter(user=user, from_claims=True):
        if (Role(row.role), Place(row.cluster, row.namespace)) not in wanted:
            row.delete()
    for role, place in sorted(wanted):
        RoleGrant.objects.get_or_create(
            user=user, role=role, cluster=place.cluster, namespace=place.namespace, from_claims=True
        )
    if roles.staff and user.is_staff != roles.is_staff(groups):
        user.is_staff = roles.is_staff(groups)
        user.save(update_fields=["is_staff"])
    return access_of(user)


def free_name(wanted: object) -> str:
    """A name that no account has in any case, of characters that Django allows and nobody can mistake."""
    plain = normalize("NFKD", wanted if isinstance(wanted, str) else "").encode("ascii", "ignore").decode()
    name = re.sub(r"[^\w.@+-]", "", plain)[:LONGEST] or "user"
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    return next(one for one in names if not User.objects.filter(username__iexact=one).exists())


def refused(
    request: HttpRequest, why: str, user: User | None = None, *, status: int = 403, detail: str = ""
) -> ImmediateHttpResponse:
    """Ends the sign-in, which is recorded with `detail`, else with what the person reads."""
    sign_ins.failed(request, actors.user(user.get_username()) if user else "", detail or why)
    return ImmediateHttpResponse(page_of_refusal(request, why, status))


def page_of_refusal(request: HttpRequest, why: str, status: int) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "You are not signed in", "why": why}
    return render(request, "sign_in/refused.html", context, status=status)


def _no_access(groups: frozenset[str]) -> str:
    claim, name = settings.SMARTOPS_OIDC_GROUPS_CLAIM, settings.SMARTOPS_OIDC_NAME
    named = f"reports your groups as: {_listed(groups)}" if groups else f"reports no group for you (claim {claim})"
    return f"Your account has no role here. {name} {named}. Ask an administrator for a group that has a role."


def _listed(groups: frozenset[str]) -> str:
    more = len(groups) - MAX_NAMED
    return (
        ", ".join(one[:LONGEST_GROUP] for one in sorted(groups)[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
        or "none"
    )


def _code(error: str) -> str:
    """As RFC 6749 defines it. It comes with the address, so it may be of anybody."""
    return re.sub(r"[^!#-\[\]-~]", "", error)[:40] or "no code"


def _safe(exception: Exception) -> str:
    """allauth quotes the answer of the token endpoint, which may hold a token. Others quote what cannot be stored."""
    text = "".join(one if one.isprintable() else "?" for one in str(exception)[:200])
    return "the token endpoint refused the code" if text.startswith("Error retrieving") else text
