"""One attempt to prove who somebody is, with a password, a code or a passkey: the same sequence for all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain

from django.core.exceptions import ValidationError
from django.forms import BaseForm
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from signals import actors
from smartops.web import sign_ins, throttle
from smartops.web.failures import Keys, attempt, paused, succeeded


class ThrottledError(ValidationError):
    """`wait`: until the next attempt."""

    def __init__(self, what: str, wait: timedelta) -> None:
        super().__init__(f"Too many {what}. Try again in {throttle.seconds(wait)} s.", code="throttled")
        self.wait = wait


class UnprovedError(ValidationError):
    """`reason`: of the row. The message is what the person reads. `account`: whose it was, if the proof says that."""

    def __init__(self, message: str, reason: str, code: str = "", account: str = "") -> None:
        super().__init__(message, code=code)
        self.reason, self.account = reason, account


@contextmanager
def proving(request: HttpRequest, keys: Keys, account: str, what: str) -> Iterator[None]:
    """The block checks the proof, and raises UnprovedError if it is wrong. The attempt counts as a failure from before
    the block begins until it has ended, so attempts at the same time are not free. `account`: the name that is claimed;
    empty if none is known. While one of the keys has to wait, nothing is checked: ThrottledError, "Too many `what`"."""
    if wait := attempt(keys):
        sign_ins.throttled(request, account)
        raise ThrottledError(what, wait)
    try:
        yield
    except UnprovedError as error:
        whose = error.account or account
        sign_ins.failed(request, actors.user(whose) if whose else "", error.reason)
        raise
    succeeded(keys)


def paused_by(response: HttpResponseBase, form: BaseForm) -> HttpResponseBase:
    """429 with Retry-After, if the form was refused because of earlier failures."""
    errors = chain.from_iterable(form.errors.as_data().values())
    return paused(response, max((one.wait for one in errors if isinstance(one, ThrottledError)), default=throttle.NONE))
