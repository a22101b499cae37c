"""Sign-in with a passkey: what it takes, that it happens once, and that nothing is said to others."""

import json
import tracemalloc
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from smartops.models import Passkey, SecondFactor, SignIn, SignInFailures
from smartops.people import passkeys
from smartops.people.roles import Role
from smartops.people.second_factor import renew_codes
from smartops.people.sessions import Session
from tests.kit.authenticator import ORIGIN, Authenticator, Spoil, text
from tests.kit.patience import PATIENCE
from tests.kit.people import PASSWORD, SignInClock, first_step, is_signed_in, passkey_of, person
from tests.kit.threads import at_once, wait_for_lock

pytestmark = pytest.mark.usefixtures("fast_hashes")
SIGN_IN, STEP = "/admin/login/", "/admin/login/code/"
REFUSED = "The passkey was not accepted."


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SignInClock:
    return SignInClock(monkeypatch)


@pytest.fixture
def olga(db: None, fast_hashes: None) -> User:
    return person("olga", Role.ADMIN, password=PASSWORD, is_staff=True)


@pytest.fixture
def laptop(olga: User) -> Authenticator:
    return passkey_of(olga)


def post(client: Client, answer: str = "", page: str = SIGN_IN, origin: str = ORIGIN, **more: Any) -> Any:
    return client.post(page, {"answer": answer, "next": "/console/audit/"}, headers={"Origin": origin}, **more)


def options(client: Client, page: str = SIGN_IN, origin: str = ORIGIN) -> Any:
    return post(client, page=page, origin=origin).json()


def sign_in(device: Authenticator, client: Client | None = None, page: str = SIGN_IN, **spoil: Spoil) -> Any:
    client = client or Client()
    return post(client, device.get(options(client, page, device.origin), **spoil), page, device.origin)


def failures() -> list[tuple[str, str]]:
    return list(SignIn.objects.filter(event="sign-in failed").order_by("pk").values_list("actor", "reason"))


def test_a_passkey_signs_in_without_a_name_and_leads_on(laptop: Authenticator) -> None:
    client = Client()
    answer = sign_in(laptop, client)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/audit/")
    assert is_signed_in(client)
    [row] = SignIn.objects.all()
    assert (row.event, row.actor, row.reason) == ("signed in", "user:olga", "passkey: Laptop")
    stored = Passkey.objects.get()
    assert (stored.signatures, stored.last_used_at is not None) == (2, True)


@pytest.mark.parametrize("evil", ["//example.com/", "https://example.com/", "javascript:alert(1)", ""])
def test_next_is_a_page_of_this_site(laptop: Authenticator, evil: str) -> None:
    client = Client()
    asked = {"answer": laptop.get(options(client)), "next": evil}
    assert client.post(SIGN_IN, asked, headers={"Origin": ORIGIN}).headers["Location"] == "/console/"


def test_an_account_without_a_right_signs_in_and_sees_nothing(db: None) -> None:
    client = Client()
    assert sign_in(passkey_of(person("eve", password=PASSWORD)), client).status_code == 302
    assert client.get("/console/").status_code == 403


def test_the_options_say_nothing_of_accounts_and_store_nothing(olga: User) -> None:
    before = options(Client())
    passkey_of(olga)
    after = options(Client())
    assert before.pop("challenge") != after.pop("challenge")
    assert before == after
    assert "allowCredentials" not in after
    assert not Session.objects.exists()
    assert not SignInFailures.objects.exists()


def test_the_password_alone_opens_nothing_and_the_passkey_leads_on(laptop: Authenticator) -> None:
    client = first_step()
    assert not is_signed_in(client)
    page = client.get(STEP).content.decode()
    assert "Use a passkey, or enter a recovery code." in page
    assert "data-passkey" in page
    asked = options(client, STEP)
    assert [one["id"] for one in asked["allowCredentials"]] == [json.loads(laptop.get(asked))["id"]]
    assert sign_in(laptop, client, STEP).headers["Location"] == "/console/"
    assert is_signed_in(client)
    assert SignIn.objects.get(event="signed in").reason == "password and passkey: Laptop"


def test_a_recovery_code_takes_the_place_of_a_lost_passkey(olga: User, laptop: Authenticator) -> None:
    codes = renew_codes(olga)
    client = first_step()
    assert client.post(STEP, {"code": "000000"}).status_code == 200, "there is no app"
    assert client.post(STEP, {"code": codes[0]}).status_code == 302
    assert is_signed_in(client)


def test_the_second_step_takes_a_passkey_of_its_account_only(laptop: Authenticator) -> None:
    eves = passkey_of(person("eve", Role.ADMIN, password=PASSWORD))
    client = first_step()
    answer = sign_in(eves, client, STEP)
    assert REFUSED in answer.content.decode()
    assert not is_signed_in(client)
    assert failures() == [("user:eve", "Passkey “Laptop”: The password was that of another account.")]


def test_the_options_of_the_second_step_need_the_first(laptop: Authenticator) -> None:
    assert post(Client(), page=STEP).headers["Location"] == SIGN_IN


def test_an_answer_signs_in_once(laptop: Authenticator) -> None:
    client = Client()
    answer = laptop.get(options(client))
    cookies = client.cookies.output()
    again = Client()
    again.cookies.load(cookies.replace("Set-Cookie: ", ""))
    assert post(client, answer).status_code == 302
    assert REFUSED in post(again, answer).content.decode()
    assert not is_signed_in(again)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("counts", [True, False])
def test_of_requests_at_the_same_time_with_one_answer_one_signs_in(
    olga: User, clock: SignInClock, counts: bool
) -> None:
    passkey_of(olga, counts=counts)
    row = Passkey.objects.get()
    found = at_once([lambda: passkeys.use(row, row.signatures + counts, clock.now)] * 6)
    assert sum(found) == 1


def test_a_challenge_is_of_the_browser_that_asked(laptop: Authenticator) -> None:
    asked = options(Client())
    other = Client()
    options(other)
    assert REFUSED in post(other, laptop.get(asked)).content.decode()
    assert "took too long" in post(Client(), laptop.get(asked)).content.decode()


def test_a_challenge_ends_after_five_minutes(laptop: Authenticator, clock: SignInClock) -> None:
    client = Client()
    answer = laptop.get(options(client))
    clock.now += timedelta(seconds=301)
    assert "The sign-in took too long. Try again." in post(client, answer).content.decode()
    assert not is_signed_in(client)
    assert sign_in(laptop, client).status_code == 302


def test_an_earlier_challenge_is_refused_after_a_later_one(laptop: Authenticator, clock: SignInClock) -> None:
    early, late = Client(), Client()
    asked = options(early)
    clock.now += timedelta(seconds=1)
    assert sign_in(laptop, late).status_code == 302
    assert REFUSED in post(early, laptop.get(asked)).content.decode()


def test_a_forged_cookie_has_no_challenge(laptop: Authenticator) -> None:
    client = Client()
    answer = laptop.get(options(client))
    client.cookies["smartops_challenge"] = client.cookies["smartops_challenge"].value[:-1] + "x"
    assert "took too long" in post(client, answer).content.decode()


def wrong_signature(said: Any) -> None:
    said.answer["signature"] = "AAAA"


def copied(said: Any) -> None:
    said.count = 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(wrong_signature, "Invalid signature"), (copied, "counted 1 signatures, after 1: there may be a copy of it")],
)
def test_a_refused_answer_is_recorded_with_the_cause_and_not_explained(
    laptop: Authenticator, spoil: Spoil, reason: str
) -> None:
    client = Client()
    answer = sign_in(laptop, client, spoil=spoil)
    assert REFUSED in answer.content.decode()
    assert reason not in answer.content.decode()
    assert not is_signed_in(client)
    [(actor, recorded)] = failures()
    assert actor == "user:olga"
    assert recorded.startswith("Passkey “Laptop”: ")
    assert reason in recorded


@pytest.mark.parametrize("answer", ["{}", "x", '{"id": "eA", "rawId": "eA"}', "\0", "x" * 20_000])
def test_another_text_is_refused(laptop: Authenticator, answer: str) -> None:
    client = Client()
    options(client)
    assert post(client, answer).status_code == 200
    assert not is_signed_in(client)


NUMBER = 50_000_000


@pytest.mark.parametrize(
    "answer",
    [
        {"rawId": NUMBER},
        {"rawId": 10**17},
        {"id": NUMBER, "rawId": NUMBER, "response": {"clientDataJSON": text(b'{"challenge": "eA"}')}},
        {"id": "eA", "rawId": "eA", "response": {"clientDataJSON": NUMBER}},
        {"id": "eA", "rawId": "eA", "response": {"clientDataJSON": text(b'{"challenge": 50000000}')}},
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_a_number_in_the_place_of_bytes_takes_no_memory(db: None, answer: Any, asked: bool) -> None:
    client = Client()
    if asked:
        options(client)
    tracemalloc.start()
    try:
        assert post(client, json.dumps(answer)).status_code == 200
        assert tracemalloc.get_traced_memory()[1] < NUMBER // 2, "the first page takes 12 MB"
    finally:
        tracemalloc.stop()


def test_an_answer_is_not_read_without_a_challenge(laptop: Authenticator) -> None:
    assert "took too long" in post(Client(), "x").content.decode()
    assert failures() == [("", "Passkey: The challenge is too old, or of another browser.")]


def test_an_unknown_passkey_is_recorded_without_a_name(laptop: Authenticator) -> None:
    assert REFUSED in sign_in(Authenticator()).content.decode()
    assert failures() == [("", "Passkey: No account has this passkey.")]


@pytest.mark.parametrize("change", ["inactive", "no password", "removed"])
def test_an_account_that_may_not_sign_in_is_refused_as_an_unknown_passkey_is(
    olga: User, laptop: Authenticator, change: str
) -> None:
    if change == "inactive":
        User.objects.update(is_active=False)
    elif change == "no password":
        olga.set_unusable_password()
        olga.save()
    else:
        passkeys.remove(Passkey.objects.get())
        assert not SecondFactor.objects.exists()
    client = Client()
    answer = sign_in(laptop, client)
    assert (answer.status_code, REFUSED in answer.content.decode()) == (200, True)
    assert not is_signed_in(client)


def test_a_passkey_is_for_the_host_at_which_it_was_added(laptop: Authenticator, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "other.example.com"]
    laptop.origin = "https://other.example.com"
    client = Client(SERVER_NAME="other.example.com")
    assert REFUSED in sign_in(laptop, client).content.decode()
    assert "of the host testserver" in failures()[0][1]
    half = first_step()
    refused = post(half, page=STEP, origin="https://other.example.com")
    assert (refused.status_code, refused.json()) == (400, {"why": "Your account has no passkey for other.example.com."})


@pytest.mark.parametrize("origin", ["http://testserver", "http://127.0.0.1:8000"])
def test_a_site_at_which_browsers_use_no_passkeys_offers_none(db: None, origin: str) -> None:
    refused = post(Client(), origin=origin)
    assert refused.status_code == 400
    assert "with HTTPS" in refused.json()["why"]


@pytest.mark.parametrize(
    ("origin", "trusted", "host"),
    [
        ("https://testserver", [], "testserver"),
        ("https://console.example.com", [], None),
        ("https://console.example.com", ["https://console.example.com"], "console.example.com"),
        ("http://testserver", [], None),
        ("https://console.example.com:8443", ["https://console.example.com"], None),
        ("https://console.example.com:8443", ["https://console.example.com:8443"], "console.example.com"),
    ],
)
def test_the_origin_is_that_of_the_host_or_a_trusted_one(
    db: None, settings: Settings, origin: str, trusted: list[str], host: str | None
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = trusted
    client = Client(enforce_csrf_checks=True)
    client.get(SIGN_IN, secure=True)
    form = {"answer": "", "csrfmiddlewaretoken": client.cookies["csrftoken"].value}
    answer = client.post(SIGN_IN, form, headers={"Origin": origin}, secure=True)
    assert answer.status_code == (200 if host else 403)
    if host:
        assert answer.json()["rpId"] == host


@pytest.mark.parametrize(("trusted", "accepted"), [([], False), (["https://testserver:8443"], True)])
def test_another_port_of_the_host_is_a_site_only_if_it_is_trusted(
    laptop: Authenticator, settings: Settings, trusted: list[str], accepted: bool
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = trusted
    laptop.origin = "https://testserver:8443"
    client = Client(SERVER_PORT="8443", HTTP_HOST="testserver:8443")
    asked = options(Client())
    refused = post(client, origin=laptop.origin)
    assert (refused.status_code, "SMARTOPS_CSRF_TRUSTED_ORIGINS" in refused.content.decode()) == (
        (200, False) if accepted else (400, True)
    )
    answer = laptop.get(refused.json() if accepted else asked)
    assert post(client, answer, origin=laptop.origin).status_code == (302 if accepted else 200)


def test_refused_answers_cost_pauses_of_a_second(laptop: Authenticator) -> None:
    answers = [sign_in(laptop, spoil=wrong_signature) for _ in range(23)]
    assert [one.status_code for one in answers] == [200] * 21 + [429] * 2
    assert answers[-1].headers["Retry-After"] == "1"
    assert SignIn.objects.filter(event="sign-in throttled", actor="").exists()
    SignInFailures.objects.update(count=1000)
    assert sign_in(laptop).headers["Retry-After"] == "1"


def test_wrong_passwords_and_forged_answers_of_others_do_not_keep_the_owner_out(laptop: Authenticator) -> None:
    for _ in range(8):
        Client().post(SIGN_IN, {"username": "olga", "password": "wrong"})
    forged = Authenticator(credential=laptop.credential)
    for number in range(52):
        sign_in(forged, Client(REMOTE_ADDR=f"203.0.113.{number}"))
    assert sign_in(laptop).status_code == 302


def test_a_browser_that_signed_in_before_is_not_slowed_down_by_others(
    laptop: Authenticator, clock: SignInClock
) -> None:
    client = Client()
    sign_in(laptop, client)
    for _ in range(22):
        sign_in(laptop, spoil=wrong_signature)
    assert sign_in(laptop).status_code == 429
    client.post("/admin/logout/")
    clock.now += timedelta(milliseconds=1)
    assert sign_in(laptop, client).status_code == 302


def test_a_sign_in_begins_a_new_session_and_ends_that_of_another_account(laptop: Authenticator) -> None:
    client = Client()
    client.force_login(person("rita", Role.VIEWER))
    before = client.session.session_key
    assert sign_in(laptop, client).status_code == 302
    again = client.session.session_key
    assert before != again
    assert client.get("/console/").wsgi_request.user.get_username() == "olga"
    assert sign_in(passkey_of(User.objects.get(username="olga"), "Phone"), client).status_code == 302
    assert client.session.session_key not in (before, again)
    assert Session.objects.count() == 1


def test_a_passkey_is_the_second_factor_that_an_account_must_have(laptop: Authenticator, settings: Settings) -> None:
    settings.SMARTOPS_REQUIRE_MFA = True
    client = Client()
    sign_in(laptop, client)
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("page", [SIGN_IN, STEP])
def test_a_passkey_that_is_removed_during_the_sign_in_opens_nothing(
    laptop: Authenticator, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    client, use = first_step() if page == STEP else Client(), passkeys.use

    def and_removed(*args: Any) -> bool:
        used = use(*args)
        SecondFactor.objects.all().delete()
        return used

    monkeypatch.setattr(passkeys, "use", and_removed)
    answer = sign_in(laptop, client, page)
    assert (answer.status_code, REFUSED in answer.content.decode()) == (200, True)
    assert failures() == [("user:olga", "Passkey “Laptop”: It was removed during the sign-in.")]
    assert not is_signed_in(client)
    assert not Session.objects.filter(account__isnull=False).exists()


@pytest.mark.django_db(transaction=True)
def test_a_passkey_that_is_removed_at_the_end_of_the_sign_in_ends_the_session(
    olga: User, laptop: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, begun = Client(), Event()
    answer = laptop.get(options(client))

    def while_the_other_waits(*args: Any) -> None:
        begun.set()
        wait_for_lock()
        login(*args)

    def remove() -> int:
        begun.wait(PATIENCE)
        Passkey.objects.all().delete()
        return 0

    monkeypatch.setattr("smartops.web.passkeys.login", while_the_other_waits)
    at_once([lambda: int(post(client, answer).status_code), remove])
    assert SignIn.objects.filter(event="signed in").exists()
    assert not Session.objects.exists()
