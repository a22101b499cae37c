"""Wrong passwords are slowed down for who tries them, and for nobody else."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import F
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from smartops.models import SignInFailures
from smartops.people.roles import Role
from smartops.web import throttle
from smartops.web.failures import DEVICE_COOKIE, attempt
from tests.kit.people import PASSWORD, person
from tests.kit.threads import at_once
from tests.kit.visitor import Visitor, text_of

pytestmark = pytest.mark.usefixtures("fast_hashes")
ATTACKER, OPERATOR, OFFICE = "198.51.100.7", "203.0.113.9", "192.0.2.0"


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `later` lets time pass."""
    now = timezone.now()
    monkeypatch.setattr("smartops.web.failures.database_now", lambda: now)


@pytest.fixture
def olga(db: None, fast_hashes: None) -> User:
    return person("olga", Role.OPERATOR, password=PASSWORD)


def sign_in(account: str, password: str, peer: str, client: Client | None = None) -> Any:
    """By the view alone, unless in a browser: its page would take most of the time."""
    form = {"username": account, "password": password, "next": "/console/"}
    return (client or Visitor(AnonymousUser())).post("/admin/login/", form, REMOTE_ADDR=peer)


def fail(times: int, peer: str = ATTACKER, account: str = "olga") -> Any:
    for _ in range(times):
        answer = sign_in(account, "wrong", peer)
    return answer


def later(seconds: float) -> None:
    SignInFailures.objects.update(last_at=F("last_at") - timedelta(seconds=seconds))


def test_a_sixth_wrong_password_has_to_wait_and_then_even_the_right_one(olga: User) -> None:
    assert fail(6).status_code == 200
    refused = sign_in("olga", PASSWORD, ATTACKER)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert "Too many failed sign-ins. Try again in 1 s." in text_of(refused)
    later(1)
    assert sign_in("olga", PASSWORD, ATTACKER).status_code == 302


def test_forty_wrong_passwords_are_at_most_a_few_guesses(olga: User) -> None:
    answers = [sign_in("olga", "wrong", ATTACKER).status_code for _ in range(40)]
    assert answers.count(200) == 6


def test_the_pause_grows_with_each_failure_up_to_a_quarter_of_an_hour(olga: User) -> None:
    fail(6)
    for seconds in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900):
        refused = sign_in("olga", "wrong", ATTACKER)
        assert (refused.status_code, refused.headers.get("Retry-After")) == (429, str(seconds))
        later(seconds)
        assert sign_in("olga", "wrong", ATTACKER).status_code == 200


def test_nobody_can_lock_an_operator_out_from_elsewhere(olga: User) -> None:
    fail(100)
    assert sign_in("olga", PASSWORD, OPERATOR).status_code == 302


def test_many_clients_slow_an_account_down_to_one_attempt_a_second_at_worst(olga: User) -> None:
    for number in range(12):
        fail(5, peer=f"198.51.100.{number}")
    assert sign_in("olga", PASSWORD, OPERATOR).headers["Retry-After"] == "1"
    later(1)
    assert sign_in("olga", PASSWORD, OPERATOR).status_code == 302


def test_a_browser_that_signed_in_before_is_not_slowed_down_by_others(olga: User) -> None:
    browser = Client()
    assert sign_in("olga", PASSWORD, OFFICE, browser).status_code == 302
    for number in range(12):
        fail(5, peer=f"198.51.100.{number}")
    fail(30, peer=OFFICE)  # the attacker shares the operator's address
    browser.post("/admin/logout/")
    assert sign_in("olga", PASSWORD, OFFICE, browser).status_code == 302


def test_a_known_browser_has_the_limit_of_one_client_and_only_for_its_account(olga: User) -> None:
    person("root", Role.ADMIN, password=PASSWORD)
    browser = Client()
    sign_in("olga", PASSWORD, OFFICE, browser)
    browser.post("/admin/logout/")
    answers = [sign_in("olga", "wrong", OFFICE, browser).status_code for _ in range(10)]
    assert answers.count(200) == 6
    fail(6, peer=OFFICE, account="root")
    assert sign_in("root", PASSWORD, OFFICE, browser).status_code == 429


def test_a_forged_device_cookie_counts_as_none(olga: User) -> None:
    fail(6)
    browser = Client()
    browser.cookies[DEVICE_COOKIE] = "x:olga:1w0000:forged"
    assert sign_in("olga", PASSWORD, ATTACKER, browser).status_code == 429


def test_one_password_on_many_accounts_is_slowed_down_too(olga: User) -> None:
    answers = [sign_in(f"account-{number}", "Winter2026", ATTACKER).status_code for number in range(40)]
    assert answers.count(200) == 21
    assert sign_in("olga", PASSWORD, OPERATOR).status_code == 302


def test_the_addresses_of_one_ipv6_network_are_one_client(olga: User) -> None:
    answers = [sign_in("olga", "wrong", f"2001:db8:1:2::{number:x}").status_code for number in range(20)]
    assert answers.count(200) == 6


def test_the_address_that_a_client_claims_does_not_matter(olga: User) -> None:
    answers = [
        Client().post(
            "/admin/login/",
            {"username": "olga", "password": "wrong"},
            headers={"X-Forwarded-For": f"10.0.0.{number}, {ATTACKER}"},
        )
        for number in range(8)
    ]
    assert [answer.status_code for answer in answers].count(200) == 6


def test_a_success_ends_the_pauses_of_its_account_and_not_those_of_its_client(olga: User) -> None:
    fail(5)
    assert sign_in("olga", PASSWORD, ATTACKER).status_code == 302
    assert fail(5).status_code == 200
    assert sorted(SignInFailures.objects.values_list("count", flat=True)) == [5, 10, 10]


def test_an_unknown_account_is_answered_as_a_known_one(olga: User) -> None:
    for account in ("olga", "nobody"):
        assert [sign_in(account, "wrong", OFFICE).status_code for _ in range(7)] == [200] * 6 + [429]
        SignInFailures.objects.all().delete()


def test_a_role_is_enough_to_sign_in_and_leads_to_the_console(olga: User) -> None:
    form = {"username": "olga", "password": PASSWORD}
    browser = Client()
    assert browser.post("/admin/login/", form).headers["Location"] == "/console/"
    assert browser.get("/console/").status_code == 200
    assert browser.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"


def test_an_inactive_account_is_counted_as_a_failure(olga: User) -> None:
    User.objects.filter(pk=olga.pk).update(is_active=False)
    assert [sign_in("olga", PASSWORD, OFFICE).status_code for _ in range(7)] == [200] * 6 + [429]


def test_no_name_is_stored_and_rows_are_deleted_after_an_hour(olga: User) -> None:
    fail(1)
    later(throttle.FORGET.total_seconds())
    fail(1, peer=OFFICE, account="a-password-in-the-wrong-field")
    rows = SignInFailures.objects.all()
    assert len(rows) == 3
    assert all(len(row.key) == 64 and row.count == 1 for row in rows)


@pytest.mark.django_db(transaction=True)
def test_attempts_at_the_same_time_are_not_free() -> None:
    keys = {"one": throttle.ACCOUNT_OF_CLIENT, "two": throttle.CLIENT}
    waits = at_once([lambda: attempt(keys)] * 12)
    assert sum(not wait for wait in waits) == 6


def test_every_page_calls_it_sign_in_and_sign_out(db: None, client: Client) -> None:
    person("olga", Role.ADMIN, password=PASSWORD, is_staff=True)
    pages = [client.get("/admin/login/"), client.post("/admin/login/", {"username": "olga", "password": "wrong"})]
    client.post("/admin/login/", {"username": "olga", "password": PASSWORD})
    pages += [client.get("/admin/"), client.get("/console/"), client.post("/admin/logout/")]

    texts = [strip_tags(one.content.decode()) for one in pages]
    assert [one.status_code for one in pages] == [200] * len(pages)
    assert all("Sign in" in one or "Sign out" in one for one in texts)
    assert not [one for one in texts if re.search(r"\b[Ll]og(ged)? ?(in|out)\b", one)]
