"""The second step of a sign-in: what it takes, how often, and that nothing opens without it."""

import re
from base64 import b32decode
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from signals.models import SettingChange
from smartops.console.consumers import usable_access
from smartops.models import SecondFactor, SignIn
from smartops.people import totp
from smartops.people.access import Right
from smartops.people.roles import Role
from smartops.people.second_factor import AlreadySetUpError, new_secret, opened, renew_codes, set_up, verify
from smartops.people.sessions import Session
from tests.kit.forms import page
from tests.kit.people import PASSWORD, SignInClock, first_step, is_signed_in, person
from tests.kit.threads import at_once

pytestmark = pytest.mark.usefixtures("fast_hashes")
SIGN_IN, STEP, PAGE = "/admin/login/", "/admin/login/code/", "/console/second-factor/"
APP, CODES = f"{PAGE}app/", f"{PAGE}recovery-codes/"
WRONG = "The code is wrong, or was used before."


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SignInClock:
    return SignInClock(monkeypatch)


@pytest.fixture
def olga(db: None, fast_hashes: None) -> User:
    return person("olga", Role.ADMIN, password=PASSWORD, is_staff=True)


@pytest.fixture
def codes(olga: User, clock: SignInClock) -> list[str]:
    """The recovery codes of olga, whose second factor was set up a minute ago."""
    secret = new_secret()
    found = set_up(olga, secret, code_of(secret, clock.now - timedelta(seconds=30)))
    assert found
    clock.pass_(60)
    return found


def code_of(secret: str, now: datetime) -> str:
    plain = opened(secret)
    assert plain
    return totp.code(plain, totp.counter_at(now))


def code_now(clock: SignInClock) -> str:
    return code_of(SecondFactor.objects.get().secret, clock.now)


def enter(client: Client, code: str) -> Any:
    return client.post(STEP, {"code": code})


@pytest.mark.parametrize("to", ["/console/audit/", "/admin/"])
def test_the_password_alone_opens_nothing_and_the_code_leads_on(codes: list[str], clock: SignInClock, to: str) -> None:
    client = first_step(to)
    for address in ("/console/", "/admin/", "/console/password/", PAGE, "/console/tokens/"):
        assert client.get(address).headers["Location"].startswith("/admin/login/?next="), address
    assert not SignIn.objects.exists()
    assert client.get(STEP).status_code == 200
    answer = enter(client, f" {code_now(clock)[:3]} {code_now(clock)[3:]} ")
    assert (answer.status_code, answer.headers["Location"]) == (302, to)
    assert client.get(to).status_code == 200
    [row] = SignIn.objects.all()
    assert (row.event, row.actor, row.reason) == ("signed in", "user:olga", "password and code")


@pytest.mark.parametrize("kind", ["code", "recovery"])
def test_a_factor_that_is_removed_during_the_second_step_opens_nothing(
    codes: list[str], clock: SignInClock, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    client, entered = first_step(), code_now(clock) if kind == "code" else codes[0]

    def and_removed(user: User, entered: str) -> Any:
        proof = verify(user, entered)
        SecondFactor.objects.all().delete()
        return proof

    monkeypatch.setattr("smartops.web.second_factor.verify", and_removed)
    assert enter(client, entered).status_code == 400
    assert not Session.objects.exists()
    assert not is_signed_in(client)


def test_the_second_step_needs_the_first_in_the_same_session(codes: list[str], clock: SignInClock) -> None:
    first_step()
    other = Client()
    assert enter(other, code_now(clock)).headers["Location"] == SIGN_IN
    assert not is_signed_in(other)


def test_the_first_step_ends_the_session_of_another_account(codes: list[str]) -> None:
    client = Client()
    client.force_login(person("rita", Role.VIEWER))
    first_step(client=client)
    assert not is_signed_in(client)


def test_the_first_step_gets_a_new_session(codes: list[str]) -> None:
    client = first_step()
    before = client.session.session_key
    first_step(client=client)
    assert client.session.session_key != before
    assert Session.objects.count() == 1


@pytest.mark.parametrize("end", ["time", "password", "active"])
def test_the_first_step_ends(olga: User, codes: list[str], clock: SignInClock, end: str) -> None:
    client = first_step()
    if end == "time":
        clock.pass_(301)
    elif end == "password":
        olga.set_password("another-password")
        olga.save()
    else:
        User.objects.update(is_active=False)
    assert enter(client, code_now(clock)).headers["Location"] == SIGN_IN
    assert not is_signed_in(client)


def test_a_code_is_accepted_once(codes: list[str], clock: SignInClock) -> None:
    code = code_now(clock)
    assert enter(first_step(), code).status_code == 302
    assert WRONG in enter(first_step(), code).content.decode()
    clock.pass_(30)
    assert WRONG in enter(first_step(), code).content.decode()
    assert enter(first_step(), code_now(clock)).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["code", "recovery"])
def test_of_requests_at_the_same_time_with_one_code_one_is_accepted(
    olga: User, codes: list[str], clock: SignInClock, kind: str
) -> None:
    entered = code_now(clock) if kind == "code" else codes[0]
    found = at_once([lambda: verify(olga, entered)] * 6)
    assert sum(one is not None for one in found) == 1


def test_a_recovery_code_is_accepted_once_and_its_use_is_recorded(codes: list[str], clock: SignInClock) -> None:
    assert enter(first_step(), codes[3].upper()).status_code == 302
    assert WRONG in enter(first_step(), codes[3]).content.decode()
    assert SignIn.objects.get(event="signed in").reason == "password and recovery code"
    change = SettingChange.objects.filter(table_name="smartops_secondfactor").latest("pk")
    assert (change.operation, change.actor, change.reason) == ("update", "user:olga", "A recovery code was used.")
    assert change.after
    assert [change.after[one] for one in ("secret", "recovery")] == ["secret", "secret, changed"]
    assert len(SecondFactor.objects.get().recovery) == 9


@pytest.mark.parametrize(
    "entered", ["", "000000", "abcdef", "\u0661\u0662\u0663\u0664\u0665\u0666", "\0", "x" * 65, "----"]
)
def test_another_text_is_refused_and_leaves_a_row(codes: list[str], entered: str) -> None:
    client = first_step()
    assert enter(client, entered).status_code == 200
    assert not is_signed_in(client)
    rows = SignIn.objects.filter(event="sign-in failed", actor="user:olga")
    assert rows.count() == (1 if 0 < len(entered.replace("\0", "")) <= 64 else 0)


def test_wrong_codes_cost_pauses_that_a_right_password_and_another_client_do_not_end(codes: list[str]) -> None:
    """An attacker who knows the password has the guesses of one account."""
    answers = [first_step().post(STEP, {"code": "000000"}, REMOTE_ADDR=f"198.51.100.{number}") for number in range(10)]
    assert [one.status_code for one in answers] == [200] * 6 + [429] * 4
    assert answers[-1].headers["Retry-After"] == "1"
    assert SignIn.objects.filter(event="sign-in throttled", actor="user:olga").exists()


def test_a_browser_that_signed_in_before_is_not_slowed_down_by_others(codes: list[str], clock: SignInClock) -> None:
    client = first_step()
    enter(client, code_now(clock))
    for _ in range(8):
        enter(first_step(), "000000")
    client.post("/admin/logout/")
    clock.now += timedelta(seconds=30)
    assert enter(first_step(client=client), code_now(clock)).status_code == 302


def test_browsers_that_know_the_password_alone_share_one_count(olga: User, clock: SignInClock) -> None:
    before = [browser() for _ in range(2)]
    client = browser()
    secret = key_on(client)
    client.post(APP, {"code": totp.code(secret, totp.counter_at(clock.now)), "password": PASSWORD})
    assert not any(map(is_signed_in, before)), "their sessions began without a code"
    assert is_signed_in(client)
    for _ in range(8):
        enter(first_step(client=before[0]), "000000")
    assert enter(first_step(client=before[1]), "000000").status_code == 429


def test_an_account_without_a_second_factor_signs_in_with_one_step(olga: User) -> None:
    client = Client()
    answer = client.post(SIGN_IN, {"username": "olga", "password": PASSWORD})
    assert answer.headers["Location"] == "/console/"
    assert is_signed_in(client)


def test_with_another_secret_key_the_recovery_codes_remain(
    codes: list[str], clock: SignInClock, settings: Settings
) -> None:
    code = code_now(clock)
    settings.SECRET_KEY = "another-key"  # noqa: S105
    assert WRONG in enter(first_step(), code).content.decode()
    assert enter(first_step(), codes[0]).status_code == 302


def test_what_is_stored_has_no_secret_in_it(codes: list[str]) -> None:
    row = SecondFactor.objects.get()
    plain = opened(row.secret)
    assert plain
    stored = f"{row.secret} {row.recovery} {[*SettingChange.objects.values('before', 'after')]}"
    for secret in (totp.key(plain), plain.hex(), *codes, *(one.replace("-", "") for one in codes)):
        assert secret not in stored


def browser() -> Client:
    client = Client()
    client.post(SIGN_IN, {"username": "olga", "password": PASSWORD})
    return client


def key_on(client: Client) -> bytes:
    """What the app of a person takes from the page."""
    found = re.search(r'<code class="key">(\w+)</code>', client.get(APP).content.decode())
    assert found
    return b32decode(found[1])


def test_a_person_sets_it_up_signs_in_with_it_and_removes_it(olga: User, clock: SignInClock) -> None:
    client = browser()
    secret = key_on(client)
    form = {"code": totp.code(secret, totp.counter_at(clock.now)), "password": PASSWORD}
    assert client.post(APP, {**form, "password": "wrong"}).status_code == 422
    again = client.post(APP, {**form, "code": "000000"})
    assert (again.status_code, totp.key(secret) in again.content.decode()) == (422, True)
    assert not SecondFactor.objects.exists()

    answer = client.post(APP, form)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    codes = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", answer.content.decode())
    assert len(codes) == 10
    assert WRONG in enter(first_step(), form["code"]).content.decode(), "the code that set it up is used"
    assert enter(first_step(), codes[0]).status_code == 302

    assert "9 left." in client.get(PAGE).content.decode()
    assert client.post(f"{APP}remove/", {"password": "wrong"}).status_code == 422
    assert SecondFactor.objects.exists()
    assert client.post(f"{APP}remove/", {"password": PASSWORD}).status_code == 302
    assert client.post(f"{APP}remove/", {"password": PASSWORD}).status_code == 404
    assert not SecondFactor.objects.exists()
    changes = SettingChange.objects.filter(table_name="smartops_secondfactor").order_by("pk")
    assert [(one.operation, one.actor) for one in changes] == [
        (operation, "user:olga") for operation in ("insert", "update", "delete")
    ]
    assert key_on(client) != secret


def test_recovery_codes_are_replaced_and_the_earlier_ones_end(codes: list[str], clock: SignInClock) -> None:
    client = first_step()
    enter(client, code_now(clock))
    assert client.post(CODES, {"password": "wrong"}).status_code == 422
    assert enter(first_step(), codes[0]).status_code == 302
    answer = client.post(CODES, {"password": PASSWORD})
    assert answer.headers["Cache-Control"] == "no-store"
    new = re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", answer.content.decode())
    assert len(new) == 10
    assert WRONG in enter(first_step(), codes[1]).content.decode()
    assert enter(first_step(), new[0]).status_code == 302


def test_each_visit_gets_a_key_of_its_own(olga: User, clock: SignInClock) -> None:
    client = browser()
    early, late = key_on(client), key_on(client)
    assert early != late
    form = {"code": totp.code(early, totp.counter_at(clock.now)), "password": PASSWORD}
    assert client.post(APP, form).status_code == 422


def test_a_factor_that_another_window_removes_gives_no_recovery_codes(
    olga: User, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    client.force_login(olga)

    def renew(user: User) -> list[str]:
        SecondFactor.objects.all().delete()
        return renew_codes(user)

    monkeypatch.setattr("smartops.console.second_factor.renew_codes", renew)
    answer = client.post(CODES, {"password": PASSWORD})
    assert (answer.status_code, "was changed in another window" in answer.content.decode()) == (422, True)


def test_an_account_without_a_second_factor_has_no_recovery_codes(olga: User) -> None:
    assert browser().get(CODES).status_code == 404


def test_an_app_that_was_set_up_in_another_window_stays(olga: User, clock: SignInClock) -> None:
    client = browser()
    form = {"code": totp.code(key_on(client), totp.counter_at(clock.now)), "password": PASSWORD}
    other = new_secret()
    set_up(olga, other, code_of(other, clock.now))
    with pytest.raises(AlreadySetUpError):
        set_up(olga, other, code_of(other, clock.now))
    assert "already has an authenticator app" in client.post(APP, form).content.decode()
    assert SecondFactor.objects.get().secret == other


def test_an_administrator_removes_the_factor_of_somebody_with_a_reason(codes: list[str], clock: SignInClock) -> None:
    ada = Client()
    ada.force_login(person("ada", Role.ADMIN, is_staff=True))
    pk = SecondFactor.objects.get().pk
    shown = ada.get(page(SecondFactor, "delete", pk)).content.decode()
    loaded = re.search(r'name="loaded" value="(.+?)"', shown)
    assert loaded
    form = {"post": "yes", "loaded": loaded[1]}
    ada.post(page(SecondFactor, "delete", pk), form)
    assert SecondFactor.objects.exists(), "without a reason"
    ada.post(page(SecondFactor, "delete", pk), {**form, "change_reason": "Lost phone, seen in person."})
    assert not SecondFactor.objects.exists()
    change = SettingChange.objects.filter(table_name="smartops_secondfactor").latest("pk")
    assert (change.operation, change.actor, change.reason) == ("delete", "user:ada", "Lost phone, seen in person.")


def test_an_account_of_a_provider_has_no_such_page(db: None) -> None:
    client = Client()
    client.force_login(person("ana", Role.VIEWER))
    assert client.get(PAGE).status_code == 404
    assert PAGE not in client.get("/console/").content.decode()
    client.force_login(person("olga", Role.VIEWER, password=PASSWORD))
    assert f'href="{PAGE}"' in client.get("/console/").content.decode()


@pytest.fixture
def required(settings: Settings) -> None:
    settings.SMARTOPS_REQUIRE_MFA = True


def test_where_it_is_required_an_account_without_one_has_only_the_page_that_sets_it_up(
    required: None, olga: User, clock: SignInClock
) -> None:
    client = browser()
    for address in ("/", "/console/", "/console/password/", "/admin/", "/admin/auth/user/", "/console/tokens/issue/"):
        assert client.get(address).headers["Location"] == PAGE, address
    assert client.post("/console/audit/export/", {"format": "jsonl"}).headers["Location"] == PAGE
    refused = client.get("/console/", headers={"HX-Request": "true"})
    assert (refused.status_code, refused.headers["HX-Redirect"]) == (403, PAGE)
    assert not usable_access(olga).has(Right.READ), "websockets"

    assert "Your account must have one before" in client.get(PAGE).content.decode()
    form = {"code": totp.code(key_on(client), totp.counter_at(clock.now)), "password": PASSWORD}
    assert client.post(APP, form).status_code == 200
    assert client.get("/admin/").status_code == 200
    assert usable_access(olga).has(Right.READ)


def test_where_it_is_required_others_are_not_concerned(required: None, db: None) -> None:
    client = Client()
    assert client.get("/console/").headers["Location"].startswith("/admin/login/")
    assert client.get("/healthz").status_code == 200
    client.force_login(person("ana", Role.VIEWER))
    assert client.get("/console/").status_code == 200, "it has no password: a provider signs it in"
    client.force_login(person("olga", Role.VIEWER, password=PASSWORD))
    assert client.post("/admin/logout/").status_code == 200
