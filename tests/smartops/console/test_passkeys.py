"""The page of the second factor: a person adds, renames and removes passkeys."""

import json
import re
from collections.abc import Callable
from functools import partial
from html import unescape
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from signals.models import SettingChange
from smartops.admin.people import PasskeyAdmin
from smartops.models import Passkey, SecondFactor, SignIn
from smartops.people import passkeys
from smartops.people.roles import Role
from smartops.people.second_factor import remove_app
from smartops.people.sessions import Session
from tests.kit.authenticator import ORIGIN, VERIFIED, Authenticator, Spoil, text
from tests.kit.forms import page
from tests.kit.patience import PATIENCE
from tests.kit.people import PASSWORD, app_of, install_roles, is_signed_in, passkey_of, person
from tests.kit.threads import at_once, wait_for_lock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fast_hashes")]
PAGE, ADD, APP = "/console/second-factor/", "/console/second-factor/passkeys/add/", "/console/second-factor/app/"
CODES = re.compile(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b")


@pytest.fixture
def olga() -> User:
    return person("olga", Role.ADMIN, password=PASSWORD, is_staff=True)


def browser(name: str = "olga") -> Client:
    client = Client(headers={"Origin": ORIGIN})
    client.force_login(User.objects.get(username=name))
    return client


def options(client: Client, name: str = "Laptop") -> dict[str, Any]:
    """Those of the second step."""
    answer = client.post(ADD, {"name": name, "password": PASSWORD})
    found = re.search(r'data-options="([^"]+)"', answer.content.decode())
    assert (answer.status_code, bool(found)) == (200, True), answer.content.decode()
    return dict(json.loads(unescape(found[1] if found else "")))


def add(client: Client, device: Authenticator | None = None, name: str = "Laptop", **spoil: Spoil) -> Any:
    return client.post(ADD, {"answer": (device or Authenticator()).create(options(client, name), **spoil)})


def said(client: Client, answer: Any) -> str:
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    return str(client.get(PAGE).content.decode())


def address(act: str) -> str:
    return f"{PAGE}passkeys/{Passkey.objects.latest('pk').pk}/{act}/"


def test_the_first_passkey_gives_recovery_codes_once_and_ends_the_other_sessions(olga: User) -> None:
    here, elsewhere, device = browser(), browser(), Authenticator()
    answer = add(here, device)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert len(CODES.findall(answer.content.decode())) == 10
    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)
    olga.refresh_from_db()
    assert olga.check_password(PASSWORD)
    row = Passkey.objects.get()
    assert (row.name, row.host, bytes(row.credential_id)) == ("Laptop", "testserver", device.credential)
    assert device.handle == bytes(SecondFactor.objects.get().handle)
    assert b"olga" not in device.handle
    shown = here.get(PAGE).content.decode()
    assert "Laptop" in shown
    assert "10 left." in shown

    second = Authenticator()
    assert "The passkey “Phone” is added." in said(here, add(here, second, "Phone"))
    assert second.handle == device.handle
    assert SecondFactor.objects.count() == 1


def test_a_passkey_beside_an_app_keeps_its_recovery_codes(olga: User) -> None:
    app_of(olga)
    before = SecondFactor.objects.get().recovery
    client = browser()
    assert "is added" in said(client, add(client))
    assert SecondFactor.objects.get().recovery == before


def test_the_password_is_asked_for_before_a_passkey_is_made(olga: User) -> None:
    client = browser()
    assert client.post(ADD, {"name": "Laptop", "password": "wrong"}).status_code == 422
    assert client.post(ADD, {"name": "Laptop"}).status_code == 422
    assert SignIn.objects.get(event="sign-in failed").reason == "The password was wrong (second factor)."
    texts = [client.post(ADD, {"name": "x", "password": "wrong"}).content.decode() for _ in range(7)]
    assert "Too many wrong passwords." in texts[-1]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\u202eb", "a\nb"])
def test_a_name_can_be_shown(olga: User, name: str) -> None:
    assert browser().post(ADD, {"name": name, "password": PASSWORD}).status_code == 422


def test_the_options_exclude_the_passkeys_of_the_account(olga: User) -> None:
    first = passkey_of(olga)
    assert options(browser())["excludeCredentials"] == [{"type": "public-key", "id": text(first.credential)}]


def unverified(said: Any) -> None:
    said.flags &= ~VERIFIED


def test_an_answer_that_is_not_believed_is_recorded_and_adds_nothing(olga: User) -> None:
    client = browser()
    assert "The passkey was not accepted. Start again." in said(client, add(client, spoil=unverified))
    [reason] = SignIn.objects.filter(event="sign-in failed", actor="user:olga").values_list("reason", flat=True)
    assert reason.startswith("New passkey: ")
    assert "User verification required" in reason
    assert not SecondFactor.objects.exists()


def test_a_challenge_is_used_once_and_in_its_session(olga: User) -> None:
    client, other = browser(), browser()
    device = Authenticator()
    answer = {"answer": device.create(options(client))}
    assert "It took too long" in said(other, other.post(ADD, answer))
    assert client.post(ADD, answer).status_code == 200
    assert "It took too long" in said(client, client.post(ADD, answer))
    assert Passkey.objects.count() == 1


def test_a_challenge_ends_with_another_password_and_after_five_minutes(olga: User) -> None:
    client, device = browser(), Authenticator()
    answer = {"answer": device.create(options(client))}
    session = client.session
    session["passkey"] = {**session["passkey"], "until": 0}
    session.save()
    assert "It took too long" in said(client, client.post(ADD, answer))
    answer = {"answer": device.create(options(client))}
    olga.set_password("another-password")
    olga.save()
    assert client.post(ADD, answer).headers["Location"].startswith("/admin/login/")
    assert not Passkey.objects.exists()


def test_a_password_that_was_changed_between_the_steps_stays(olga: User) -> None:
    client, new = browser(), "another-long-secret-9"
    answer = {"answer": Authenticator().create(options(client))}
    client.post("/console/password/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    assert "Your password was changed" in said(client, client.post(ADD, answer))
    olga.refresh_from_db()
    assert olga.check_password(new)
    assert not Passkey.objects.exists()


def test_a_hash_of_the_password_is_in_no_session_after_the_steps_end(olga: User) -> None:
    client = browser()
    leaving: list[Callable[[], Any]] = [lambda: client.get(PAGE), lambda: client.post(ADD, {"answer": "x"})]
    for leave in leaving:
        options(client)
        assert "passkey" in client.session
        leave()
        assert "passkey" not in client.session


@pytest.mark.parametrize("act", ["remove", "password"])
def test_a_password_that_an_administrator_sets_at_the_same_time_stays(
    olga: User, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    passkey_of(olga)
    client = browser()

    def encoded(password: str) -> str:
        """Between the check of the password and the change."""
        olga.set_password("set-by-an-administrator")
        olga.save()
        return make_password(password)

    monkeypatch.setattr("smartops.console.second_factor.make_password", encoded)
    monkeypatch.setattr("smartops.console.password.make_password", encoded)
    if act == "remove":
        answer = client.post(address("remove"), {"password": PASSWORD})
    else:
        new = {"new_password1": "another-long-secret-9", "new_password2": "another-long-secret-9"}
        answer = client.post("/console/password/", {"old_password": PASSWORD, **new})
    assert (answer.status_code, "was changed at the same time" in answer.content.decode()) == (422, True)
    assert Passkey.objects.exists()


def test_a_passkey_belongs_to_one_account(olga: User) -> None:
    device = passkey_of(person("eve", password=PASSWORD))
    client = browser()
    assert "already registered" in said(client, add(client, device))
    assert [one.user.get_username() for one in Passkey.objects.all()] == ["eve"]
    assert not SecondFactor.objects.filter(user=olga).exists()


def test_an_account_has_a_limited_number(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MAX_PASSKEYS", 1)
    passkey_of(olga)
    client = browser()
    assert "Remove one first." in said(client, add(client))


def test_a_person_renames_a_passkey(olga: User) -> None:
    passkey_of(olga)
    client = browser()
    assert 'value="Laptop"' in client.get(address("rename")).content.decode()
    assert "is called “Old laptop” now" in said(client, client.post(address("rename"), {"name": "Old laptop"}))
    assert Passkey.objects.get().name == "Old laptop"


def test_the_last_passkey_takes_the_recovery_codes_with_it_and_ends_the_other_sessions(olga: User) -> None:
    passkey_of(olga, "Phone")
    passkey_of(olga)
    here, elsewhere = browser(), browser()
    assert "It is your last one" not in here.get(address("remove")).content.decode()
    assert here.post(address("remove"), {"password": "wrong"}).status_code == 422
    assert "is removed" in said(here, here.post(address("remove"), {"password": PASSWORD}))
    assert not is_signed_in(elsewhere)
    assert SecondFactor.objects.exists()
    assert "It is your last one" in here.get(address("remove")).content.decode()
    here.post(address("remove"), {"password": PASSWORD})
    assert not SecondFactor.objects.exists()
    assert Client().post("/admin/login/", {"username": "olga", "password": PASSWORD}).headers["Location"] == "/console/"


def test_the_app_and_the_passkeys_end_one_by_one(olga: User) -> None:
    app_of(olga)
    passkey_of(olga)
    client = browser()
    assert "Your passkeys stay." in client.get(f"{APP}remove/").content.decode()
    client.post(f"{APP}remove/", {"password": PASSWORD})
    assert SecondFactor.objects.get().secret == ""
    app_of(olga)
    client.post(address("remove"), {"password": PASSWORD})
    assert SecondFactor.objects.get().secret
    assert "It is your last one" in client.get(f"{APP}remove/").content.decode()
    client.post(f"{APP}remove/", {"password": PASSWORD})
    assert not SecondFactor.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("other", ["app", "passkey"])
def test_of_two_requests_that_remove_the_last_two_factors_one_ends_the_second_factor(olga: User, other: str) -> None:
    for _ in range(5):
        secret = app_of(olga) if other == "app" else ""
        passkey_of(olga)
        if other == "passkey":
            passkey_of(olga)
        acts: list[Callable[[], None]] = [partial(passkeys.remove, one) for one in Passkey.objects.all()]
        at_once([*acts, partial(remove_app, olga, secret)] if secret else acts)
        assert not SecondFactor.objects.exists()


@pytest.mark.parametrize("act", ["rename", "remove"])
def test_the_passkey_of_somebody_else_is_none(olga: User, act: str) -> None:
    passkey_of(person("eve", password=PASSWORD))
    client = browser()
    for form in ({}, {"name": "mine", "password": PASSWORD}):
        assert client.post(address(act), form).status_code == 404
    assert client.get(address(act)).status_code == 404
    assert Passkey.objects.get().name == "Laptop"


def test_an_account_of_a_provider_has_no_passkeys(db: None) -> None:
    person("ana", Role.VIEWER)
    client = browser("ana")
    for url in (PAGE, ADD, f"{PAGE}passkeys/1/remove/"):
        assert client.get(url).status_code == 404


def test_where_a_second_factor_is_required_it_can_be_a_passkey(olga: User, settings: Settings) -> None:
    settings.SMARTOPS_REQUIRE_MFA = True
    client = browser()
    assert client.get("/console/").headers["Location"] == PAGE
    assert "must have one before you open another page" in client.get(PAGE).content.decode()
    assert add(client).status_code == 200
    assert client.get("/console/").status_code == 200


def test_the_history_has_each_change_and_no_key(olga: User) -> None:
    client = browser()
    device = Authenticator()
    add(client, device)
    client.post(address("rename"), {"name": "Old laptop"})
    client.post(address("remove"), {"password": PASSWORD})
    rows = SettingChange.objects.filter(table_name="smartops_passkey").order_by("pk")
    assert [(one.operation, one.actor) for one in rows] == [
        (operation, "user:olga") for operation in ("insert", "update", "delete")
    ]
    stored = f"{[*SettingChange.objects.values('before', 'after')]}"
    for secret in (device.credential.hex(), device.handle.hex(), text(device.credential)):
        assert secret not in stored


def test_an_administrator_removes_one_passkey_or_all_with_a_reason(olga: User) -> None:
    passkey_of(olga, "Phone")
    passkey_of(olga)
    person("ada", Role.ADMIN, is_staff=True)
    ada = browser("ada")
    assert b"Laptop" in ada.get(page(Passkey, "changelist")).content

    def delete(row: Any, **form: str) -> None:
        url = page(type(row), "delete", row.pk)
        loaded = re.search(r'name="loaded" value="(.+?)"', ada.get(url).content.decode())
        assert loaded
        ada.post(url, {"post": "yes", "loaded": loaded[1], **form})

    delete(Passkey.objects.get(name="Phone"))
    assert Passkey.objects.count() == 2, "without a reason"
    delete(Passkey.objects.get(name="Phone"), change_reason="Lost phone.")
    assert Passkey.objects.get().name == "Laptop"
    delete(Passkey.objects.get(), change_reason="Lost laptop.")
    assert not SecondFactor.objects.exists()
    passkey_of(olga)
    delete(SecondFactor.objects.get(), change_reason="Lost everything.")
    assert not Passkey.objects.exists()
    last = SettingChange.objects.filter(table_name="smartops_passkey").latest("pk")
    assert (last.actor, last.reason) == ("user:ada", "Lost everything.")


def form_of(client: Client, url: str, **posted: Any) -> dict[str, Any]:
    """What a person posts from a page of the admin that asks for a confirmation."""
    answer = client.post(url, posted) if posted else client.get(url)
    loaded = re.search(r'name="loaded" value="(.+?)"', answer.content.decode())
    assert loaded
    return {**posted, "post": "yes", "loaded": loaded[1], "change_reason": "Stolen."}


@pytest.mark.parametrize("model", [Passkey, SecondFactor])
def test_a_sign_in_does_not_make_the_confirmation_of_an_administrator_stale(olga: User, model: Any) -> None:
    passkey_of(olga)
    person("ada", Role.ADMIN, is_staff=True)
    ada = browser("ada")
    url = page(model, "delete", model.objects.get().pk)
    form = form_of(ada, url)
    Passkey.objects.update(signatures=77, last_used_at=timezone.now())  # as passkeys.use() does
    SecondFactor.objects.update(used_counter=77)  # as verify() does
    ada.post(url, form)
    assert not SecondFactor.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("chosen", [False, True])
def test_an_administrator_and_the_owner_remove_a_passkey_at_the_same_time(
    olga: User, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    """The owner has begun, and waits, when the administrator deletes: neither ends with a deadlock."""
    install_roles()
    passkey_of(olga)
    person("ada", Role.ADMIN, is_staff=True)
    ada, row = browser("ada"), Passkey.objects.select_related("second_factor__user").get()
    bulk = {"action": "delete_chosen", "_selected_action": row.pk} if chosen else {}
    url = page(Passkey, "changelist") if chosen else page(Passkey, "delete", row.pk)
    form, begun = form_of(ada, url, **bulk), Event()
    delete = PasskeyAdmin.delete_model

    def delete_when_the_owner_waits(*args: Any) -> None:
        begun.set()
        wait_for_lock()
        delete(*args)

    def owner() -> int:
        begun.wait(PATIENCE)
        passkeys.remove(row)
        return 302

    monkeypatch.setattr(PasskeyAdmin, "delete_model", delete_when_the_owner_waits)
    assert at_once([lambda: ada.post(url, form).status_code, owner]) == [302, 302]
    assert not SecondFactor.objects.exists()


def test_an_administrator_changes_the_own_factor_and_password_in_the_console(olga: User) -> None:
    passkey_of(olga)
    client = browser()
    for row in (Passkey.objects.get(), SecondFactor.objects.get()):
        deletion, chosen = page(type(row), "delete", row.pk), page(type(row), "changelist")
        for answer in (client.get(deletion), client.post(deletion, {"post": "yes", "change_reason": "x"})):
            assert answer.headers["Location"] == PAGE
        said_ = client.post(chosen, {"action": "delete_chosen", "_selected_action": row.pk}, follow=True)
        assert "Nothing was done to" in said_.content.decode()
    password = f"/admin/auth/user/{olga.pk}/password/"
    new = {"password1": "stolen-by-eve-77", "password2": "stolen-by-eve-77", "usable_password": "true"}
    for answer in (client.get(password), client.post(password, new)):
        assert answer.headers["Location"] == "/console/password/"
    olga.refresh_from_db()
    assert olga.check_password(PASSWORD)
    assert Passkey.objects.exists()


@pytest.mark.parametrize("model", [Passkey, SecondFactor])
def test_an_administrator_reads_that_the_sessions_end(olga: User, model: Any) -> None:
    passkey_of(olga)
    person("ada", Role.ADMIN, is_staff=True)
    ada, row = browser("ada"), model.objects.get()
    chosen = ada.post(page(model, "changelist"), {"action": "delete_chosen", "_selected_action": row.pk})
    for answer in (ada.get(page(model, "delete", row.pk)), chosen):
        assert "The sessions of the account end." in answer.content.decode()


def test_the_pages_that_are_shown_once_are_stored_in_no_session(olga: User) -> None:
    client = browser()
    codes = CODES.findall(add(client).content.decode())
    for session in Session.objects.all():
        assert codes[0] not in json.dumps(session.get_decoded())
