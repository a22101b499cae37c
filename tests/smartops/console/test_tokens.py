"""The screen of tokens: who may call the API, and the text of a token, which is shown once."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from signals.models import SettingChange
from smartops import tokens
from smartops.console.tokens import UNUSED_AFTER, state_of
from smartops.models import Token
from smartops.people.access import Place
from smartops.people.roles import Role
from smartops.tokens import Scope, issue, verify
from tests.smartops.console.test_audit import signed_in
from tests.smartops.console.test_pages import text

pytestmark = pytest.mark.django_db

LIST, ISSUE = "/console/tokens/", "/console/tokens/issue/"
WANTED = {
    "name": "detector",
    "scopes": ["read", "signals:write"],
    "namespaces": "erp, crm",
    "life": "90",
    "reason": "x",
}
NOW = timezone.now()
DAY = timedelta(days=1)


@pytest.fixture
def admin() -> Client:
    return signed_in("rita", Role.ADMIN)


def test_a_token_is_issued_and_its_text_is_shown_once(admin: Client) -> None:
    answer = admin.post(ISSUE, WANTED)

    [shown] = [word for word in text(answer).replace("<", " ").replace(">", " ").split() if word.startswith("smo_")]
    assert answer.headers["Cache-Control"] == "no-store"
    principal = verify(shown)
    assert principal is not None
    assert (set(principal.scopes), sorted(principal.namespaces)) == ({"read", "signals:write"}, ["crm", "erp"])
    assert shown not in text(admin.get(LIST))
    assert not any(shown in str(cookie) for cookie in admin.cookies.values())
    [change] = SettingChange.objects.filter(table_name="smartops_token")
    assert (change.actor, change.reason) == ("user:rita", "x")
    ends = Token.objects.get().expires_at
    assert ends is not None
    assert 89 < (ends - timezone.now()) / DAY < 91


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scopes": []}, "This field is required."),
        ({"life": ""}, "This field is required."),
        ({"namespaces": "Not A Name"}, "Not A Name"),
        ({"name": "taken"}, "There is a token with this name."),
        ({"name": "TAKEN"}, "differs in more than case"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_the_reason(admin: Client, change: dict[str, object], said: str) -> None:
    issue("taken", [Scope.READ])

    answer = admin.post(ISSUE, WANTED | change)

    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert Token.objects.count() == 1


def test_no_choice_is_made_beforehand(admin: Client) -> None:
    assert "checked" not in text(admin.get(ISSUE, headers={"HX-Target": "dialog#act", "HX-Request": "true"}))


def test_a_token_is_revoked_for_a_reason_and_only_once(admin: Client) -> None:
    secret = issue("detector", [Scope.READ])
    row = Token.objects.get()
    address = f"{LIST}{row.pk}/revoke/"

    assert admin.post(address, {"reason": ""}).status_code == 422
    assert "is revoked" in text(admin.post(address, {"reason": "leaked"}, follow=True))
    tokens.forget(row.lookup)  # a test's transaction never commits
    assert verify(secret) is None
    again = admin.post(address, {"reason": "leaked"})
    assert (again.status_code, "revoked already" in again.content.decode()) == (422, True)
    assert SettingChange.objects.filter(table_name="smartops_token", reason="leaked").count() == 1


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "valid"),
        ({"expires_at": NOW}, "expired"),
        ({"expires_at": NOW + DAY}, "valid"),
        ({"revoked_at": NOW, "expires_at": NOW}, "revoked"),
        ({"created_at": NOW - UNUSED_AFTER - DAY}, "unused"),
        ({"created_at": NOW - UNUSED_AFTER - DAY, "last_used_at": NOW - DAY}, "valid"),
        ({"created_at": NOW - 2 * UNUSED_AFTER, "last_used_at": NOW - UNUSED_AFTER - DAY}, "unused"),
    ],
)
def test_expired_and_unused_tokens_are_marked(admin: Client, columns: dict[str, object], state: str) -> None:
    row = Token(**{"name": "a", "lookup": "a", "digest": b"", "created_at": NOW} | columns)
    row.save()

    assert state_of(row, NOW) == state
    found = {one: len(admin.get(f"{LIST}?state={one}").context["tokens"]) for one in ("revoked", "expired", "unused")}
    assert [one for one, count in found.items() if count] == [one for one in found if one == state]


@pytest.mark.parametrize(
    ("role", "place"), [(Role.VIEWER, Place()), (Role.OPERATOR, Place()), (Role.ADMIN, Place("default", "erp"))]
)
def test_tokens_are_for_those_who_administer_everything(role: Role, place: Place) -> None:
    issue("secretive", [Scope.READ])
    client, row = signed_in("vera", role, place), Token.objects.get()

    for address in (LIST, ISSUE, f"{LIST}{row.pk}/revoke/"):
        answer = client.get(address)
        assert (answer.status_code, b"secretive" in answer.content) == (403, False)
    assert client.post(ISSUE, WANTED).status_code == 403
    assert client.post(f"{LIST}{row.pk}/revoke/", {"reason": "x"}).status_code == 403
    assert Token.objects.filter(revoked_at=None).count() == 1
    assert "/console/tokens/" not in text(client.get("/console/audit/"))
