"""API tokens: who calls the API, with which rights and quota, and until when. For those who administer everything."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from signals.lib.acting import give_reason
from smartops import tokens as api_tokens
from smartops.console import filters, listing
from smartops.console.acts import ActForm, Confirmation, ReasonedForm, posted, respond
from smartops.console.pages import ConsoleRequest, act, page
from smartops.models import Token
from smartops.people.access import Right
from smartops.tokens import Scope

UNUSED_AFTER = timedelta(days=90)
LIVES = {"30": "30 days", "90": "90 days", "365": "1 year", "never": "Until it is revoked"}
STATES = {"valid": "Valid", "unused": "Unused", "expired": "Expired", "revoked": "Revoked"}


def _unused(now: datetime) -> Q:
    """Not used for a long time, since it was issued."""
    long_ago = now - UNUSED_AFTER
    return Q(created_at__lt=long_ago) & (Q(last_used_at=None) | Q(last_used_at__lt=long_ago))


class TokenFilter(filters.Filter):
    q = filters.search()
    state = filters.choice(None, "All states", STATES.items(), label="State", method="of_state")

    def search(self, rows: "QuerySet[Token]", _: str, text: str) -> "QuerySet[Token]":
        """A part of the name, or the public part of a token's text."""
        return rows.filter(Q(name__icontains=text) | Q(lookup=text.removeprefix("smo_")[:12]))

    def of_state(self, rows: "QuerySet[Token]", _: str, state: str) -> "QuerySet[Token]":
        now = timezone.now()
        expired = Q(expires_at__lte=now)
        match state:
            case "revoked":
                return rows.filter(revoked_at__isnull=False)
            case "expired":
                return rows.filter(expired, revoked_at=None)
            case "unused":
                return rows.filter(_unused(now), Q(expires_at=None) | ~expired, revoked_at=None)
        return rows.filter(Q(expires_at=None) | ~expired, revoked_at=None)


@dataclass(frozen=True, slots=True)
class Row:
    token: Token
    state: str
    signals_per_minute: int
    waiting_signals: int


def state_of(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is not None and token.expires_at <= now:
        return "expired"
    used_at = max(filter(None, (token.created_at, token.last_used_at)))
    return "unused" if used_at < now - UNUSED_AFTER else "valid"


@page
def tokens(request: ConsoleRequest) -> HttpResponse:
    _require(request)
    found, now = listing.listing(request, TokenFilter, Token.objects.defer("digest")), timezone.now()
    rows = [
        Row(
            one,
            state_of(one, now),
            one.signals_per_minute or settings.SMARTOPS_SIGNALS_PER_MINUTE,
            one.waiting_signals or settings.SMARTOPS_WAITING_SIGNALS,
        )
        for one in found.rows
    ]
    return render(request, "console/tokens.html", {"listing": found, "tokens": rows})


class IssueForm(ActForm):
    name = forms.CharField(max_length=64, help_text="Of the caller, as the audit shows it. It never changes.")
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, scope.value) for scope in Scope], widget=forms.CheckboxSelectMultiple
    )
    namespaces = forms.CharField(required=False, max_length=2000, help_text="Divided by commas. Empty: all.")
    life = forms.ChoiceField(label="Valid for", choices=list(LIVES.items()), widget=forms.RadioSelect)

    def clean_namespaces(self) -> list[str]:
        return sorted({name.strip() for name in self.cleaned_data["namespaces"].split(",") if name.strip()})


@act(Right.ADMINISTER)
def issue(request: ConsoleRequest) -> HttpResponseBase:
    """The answer to the POST is the only one that has the text of the token. No cache may keep it, and it is in no
    message, which Django stores in a cookie."""
    _require(request)
    form, text = IssueForm(posted(request)), ""
    if request.method == "POST" and form.is_valid():
        text = _issue(form)
    asked = Confirmation(
        "Issue", "Issue a token", "Its text is shown once, and cannot be read again.", reverse("console:tokens")
    )
    context: dict[str, Any] = {"form": form, "confirmation": asked, "text": text}
    template = "console/token_issued.html" if text else "console/act.html"
    answer = render(request, template, context, status=422 if form.errors else 200)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _issue(form: IssueForm) -> str:
    """The text; empty if it is refused, with the error in the form."""
    given = form.cleaned_data
    give_reason(given["reason"])
    ends = None if given["life"] == "never" else timezone.now() + timedelta(days=int(given["life"]))
    try:
        with transaction.atomic():
            return api_tokens.issue(given["name"], map(Scope, given["scopes"]), given["namespaces"], ends)
    except ValidationError as error:
        form.add_error(None, error.messages)
    except IntegrityError:
        form.add_error("name", "There is a token with this name. Names are never used again.")
    return ""


@act(Right.ADMINISTER)
def revoke(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    _require(request)
    token = get_object_or_404(Token, pk=pk)
    asked = Confirmation(
        "Revoke",
        f"Revoke the token {token.name}",
        "Within a second, every request with it is refused. It cannot be restored.",
        reverse("console:tokens"),
        targets=[f"{token.name} ({', '.join(token.scopes)})"],
        danger=True,
    )

    def perform(_: dict[str, Any]) -> str:
        if not api_tokens.revoke(token):
            raise ValidationError(f"The token {token.name} has been revoked already.")
        return f"The token {token.name} is revoked."

    return respond(request, ReasonedForm(posted(request)), asked, perform)


def _require(request: ConsoleRequest) -> None:
    """A token may reach all namespaces, so a right in some of them is not enough."""
    if not request.access.may(Right.ADMINISTER):
        raise PermissionDenied("Your account has no right to administer everything.")
