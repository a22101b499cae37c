"""The page on which a person changes the own password."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from signals.models import SettingChange
from smartops.models import SignIn
from smartops.people.roles import Role
from tests.kit.people import person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fast_hashes")]
OLD, NEW = "correct-horse-battery", "staple-and-another-horse"
PAGE = "/console/password/"


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of a second may pass on a machine that is busy."""
    now = timezone.now()
    monkeypatch.setattr("smartops.web.failures.database_now", lambda: now)


@pytest.fixture(params=[Role.VIEWER, None], ids=str)
def olga(request: pytest.FixtureRequest) -> User:
    return person("olga", request.param, password=OLD)


def browser() -> Client:
    client = Client()
    assert client.post("/admin/login/", {"username": "olga", "password": OLD}).status_code == 302
    return client


def change(client: Client, old: str = OLD, new: str = NEW, again: str | None = None) -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": new if again is None else again}
    return client.post(PAGE, form)


def test_a_person_without_staff_status_changes_the_password_and_the_other_sessions_end(olga: User) -> None:
    here, elsewhere = browser(), browser()

    assert here.get(PAGE).status_code == 200
    assert change(here).status_code == 302

    assert here.get(PAGE).status_code == 200
    assert elsewhere.get(PAGE).headers["Location"] == f"/admin/login/?next={PAGE}"
    olga.refresh_from_db()
    assert olga.check_password(NEW)
    last = SettingChange.objects.filter(table_name="auth_user").latest("pk")
    assert (last.actor, last.after and last.after["password"]) == ("user:olga", "secret, changed")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"old": "wrong"}, "old password was entered incorrectly"),
        ({"new": "short"}, "too short"),
        ({"new": "password"}, "too common"),
        ({"new": "brandenburg1"}, "too similar"),
        ({"again": "another"}, "match"),
        ({"new": ""}, "required"),
    ],
)
def test_a_password_that_is_refused_says_why_and_changes_nothing(fields: dict[str, str], text: str) -> None:
    olga = person("olga", password=OLD, last_name="Brandenburg")
    answer = change(browser(), **fields)
    assert answer.status_code == 422
    assert text in answer.content.decode()
    olga.refresh_from_db()
    assert olga.check_password(OLD)


def test_the_old_password_cannot_be_guessed_with_a_session(olga: User) -> None:
    client = browser()
    texts = [change(client, old="wrong").content.decode() for _ in range(8)]
    assert ["Try again in" in text for text in texts] == [False] * 6 + [True] * 2
    failed = SignIn.objects.filter(event="sign-in failed").values_list("actor", "reason").distinct()
    assert [*failed] == [("user:olga", "The old password was wrong, on the page that changes it.")]
    assert "Try again in" in change(client).content.decode()


def test_an_account_without_a_password_has_no_such_page() -> None:
    client = Client()
    client.force_login(person("ana", Role.VIEWER))
    assert client.get(PAGE).status_code == 404
    assert PAGE not in client.get("/console/").content.decode()


def test_the_admin_leads_to_the_same_page(client: Client) -> None:
    client.force_login(person("olga", Role.ADMIN, password=OLD, is_staff=True))
    assert client.get("/admin/password_change/").headers["Location"] == PAGE
    assert client.post("/admin/password_change/").headers["Location"] == PAGE
    assert f'href="{PAGE}"' in client.get("/console/").content.decode()


def test_who_is_signed_out_signs_in_first(client: Client) -> None:
    assert client.get(PAGE).headers["Location"] == f"/admin/login/?next={PAGE}"
