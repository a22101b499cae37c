"""A row and a log line for each sign-in, failed sign-in and sign-out.

A success needs a password, and is a row always. Failures are what a flood consists of: those that are lines of the
access log are rows, the others are counted in a row that the next sign-in stores. A name that somebody tried is stored
only if an account has it: people type passwords there.
"""

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from signals import actors
from smartops.models import SignIn
from smartops.people.sessions import end
from smartops.web.access_log import record, take_summaries, where
from smartops.web.peers import peer_of

THROTTLED, FAILED, SIGNED_OUT = "sign-in throttled", "sign-in failed", "signed out everywhere"


def throttled(request: HttpRequest, account: str) -> None:
    actor = _known(account)
    if record(THROTTLED, actor=actor, status_code=429, **where(request)):
        _store(THROTTLED, request, actor)


def failed(request: HttpRequest, actor: str, reason: str) -> None:
    """A sign-in that is none by a name and a password. `actor`: empty if nobody is known."""
    if record(FAILED, actor=actor, reason=reason, **where(request)):
        _store(FAILED, request, actor, reason)


def signed_out_everywhere(request: HttpRequest, user: Any, reason: str = "") -> None:
    """Ends the sessions of an account. `request`: of the person who does that."""
    by, whose = actors.user(request.user.get_username()), actors.user(user.get_username())
    end(user)
    why = " ".join(filter(None, ("" if by == whose else f"By {by}.", reason)))
    record(SIGNED_OUT, logging.INFO, actor=whose, reason=why, **where(request))
    _store(SIGNED_OUT, request, whose, why)


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    """`request.signed_in_by`: by what else than a password."""
    actor, by = actors.user(user.get_username()), getattr(request, "signed_in_by", "")
    record("signed in", logging.INFO, actor=actor, reason=by, **where(request))
    _store("signed in", request, actor, by)


@receiver(user_logged_out)
def _signed_out(request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        actor = actors.user(user.get_username())
        record("signed out", logging.INFO, actor=actor, **where(request))
        _store("signed out", request, actor)


@receiver(user_login_failed)
def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if request is None:  # a command or a test, and no person
        return
    actor = _known(str(credentials.get("username", "")))
    if record(FAILED, actor=actor, **where(request)):
        _store(FAILED, request, actor)


def _store(event: str, request: HttpRequest, actor: str, reason: str = "") -> None:
    counted = [
        SignIn(event=event, count=count, reason=line)
        for event, count, line in take_summaries()
        if event in (THROTTLED, FAILED)
    ]
    SignIn.objects.bulk_create([*counted, SignIn(event=event, actor=actor, address=peer_of(request), reason=reason)])


def _known(account: str) -> str:
    """The actor, if an account has the name."""
    model = get_user_model()
    if "\0" in account or not model._default_manager.filter(**{model.USERNAME_FIELD: account}).exists():
        return ""
    return actors.user(account)
