"""Sessions: whose they are, and what ends those of an account, and no others."""

import re
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError
from django.db import connection
from django.test import Client

from smartops.models import Passkey, SecondFactor, SignIn
from smartops.people.roles import Role
from smartops.people.sessions import Session, SessionStore, end
from tests.kit.forms import load, page
from tests.kit.people import app_of, is_signed_in, lose_roles, passkey_of, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fast_hashes")]
EVERYWHERE, STEP = "/console/sign-out-everywhere/", "/admin/login/code/"


@pytest.fixture
def olga(fast_hashes: None) -> User:
    found = person("olga", Role.VIEWER, password="of-the-scene")  # noqa: S106
    passkey_of(found)
    app_of(found)
    return found


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_a_session_has_its_account_from_the_sign_in_on(olga: User) -> None:
    store = SessionStore()
    store["begun"] = "yes"
    store.create()
    browser(olga)

    assert set(Session.objects.values_list("account__username", flat=True)) == {None, "olga"}
    assert {str(one) for one in Session.objects.all()} == {"of nobody", "of olga"}


def switched(user: User) -> None:
    for is_active in (False, True):
        User.objects.filter(pk=user.pk).update(is_active=is_active)


def switched_by_sql(user: User) -> None:
    with connection.cursor() as cursor:
        for is_active in (False, True):
            cursor.execute("UPDATE auth_user SET is_active = %s WHERE id = %s", [is_active, user.pk])


def activated(user: User) -> None:
    """A sign-in was under way when the account was deactivated."""
    User.objects.filter(pk=user.pk).update(is_active=False)
    store = SessionStore()
    store["_auth_user_id"] = str(user.pk)
    store.create()
    User.objects.filter(pk=user.pk).update(is_active=True)


def without_passkey(user: User) -> None:
    Passkey.objects.filter(second_factor=user.pk).delete()


def without_second_factor(user: User) -> None:
    SecondFactor.objects.filter(user=user).delete()


ENDINGS = pytest.mark.parametrize(
    "ending", [switched, switched_by_sql, activated, without_passkey, without_second_factor, end],
    ids=lambda one: one.__name__,
)  # fmt: skip


@ENDINGS
def test_all_sessions_of_an_account_end_and_no_others(olga: User, ending: Callable[[User], None]) -> None:
    hers, others = [browser(olga), browser(olga)], browser(person("rita", Role.VIEWER))
    assert all(map(is_signed_in, [*hers, others]))

    ending(olga)

    assert not any(map(is_signed_in, hers))
    assert not Session.objects.filter(account=olga).exists()
    assert is_signed_in(others)


@ENDINGS
def test_a_sign_in_between_its_steps_ends_too(olga: User, ending: Callable[[User], None]) -> None:
    hers = Client()
    hers.post("/admin/login/", {"username": "olga", "password": "of-the-scene"})
    assert (hers.get(STEP).status_code, is_signed_in(hers)) == (200, False)

    ending(olga)

    assert hers.get(STEP).headers["Location"] == "/admin/login/"
    assert not Session.objects.filter(account=olga).exists()


def test_two_pages_of_a_browser_sign_in_from_one_session_without_an_account() -> None:
    before = SessionStore()
    before["begun"] = "yes"
    before.create()
    pages = [SessionStore(before.session_key), SessionStore(before.session_key)]
    assert {one["begun"] for one in pages} == {"yes"}  # both requests have loaded it

    for one in pages:
        one.cycle_key()

    assert len({one.session_key for one in pages} - {before.session_key}) == 2
    assert not Session.objects.filter(pk=before.session_key).exists()


def test_somebody_else_who_signs_in_between_the_steps_ends_the_first_step(olga: User) -> None:
    client = Client()
    client.post("/admin/login/", {"username": "olga", "password": "of-the-scene"})
    client.force_login(person("rita", Role.VIEWER))

    assert is_signed_in(client)
    assert client.get(STEP).headers["Location"] == "/admin/login/"
    assert str(Session.objects.get()) == "of rita"


def test_a_session_keeps_its_account_in_async_code(olga: User) -> None:
    browser(olga)
    store = SessionStore(Session.objects.get().session_key)

    async def changed() -> None:
        await store.aset("changed", "yes")
        await store.asave()

    async_to_sync(changed)()
    assert str(Session.objects.get()) == "of olga"


def test_other_changes_of_an_account_end_no_session(olga: User) -> None:
    here = browser(olga)
    User.objects.filter(pk=olga.pk).update(is_staff=True, is_active=True, last_name="Brandenburg")
    Passkey.objects.update(name="Laptop")
    SecondFactor.objects.update(used_counter=7)

    assert is_signed_in(here)


def test_a_request_that_is_being_answered_does_not_store_an_ended_session_again(olga: User) -> None:
    browser(olga)
    during = SessionStore(Session.objects.get().session_key)
    during["changed"] = "yes"
    end(olga)

    with pytest.raises(UpdateError):
        during.save()
    assert not Session.objects.exists()


def test_a_role_is_read_at_each_request(olga: User) -> None:
    here = browser(olga)
    assert is_signed_in(here)
    lose_roles()
    assert here.get("/console/").status_code == 403


@pytest.mark.parametrize("with_password", [True, False], ids=["local", "of a provider"])
def test_a_person_signs_out_everywhere(olga: User, *, with_password: bool) -> None:
    if not with_password:
        olga.set_unusable_password()
        olga.save()
    here, elsewhere = browser(olga), browser(olga)
    linked = here.get("/console/second-factor/" if with_password else "/console/").content.decode()
    assert EVERYWHERE in linked
    assert is_signed_in(elsewhere)

    answer = here.post(EVERYWHERE)

    assert answer.headers["Location"] == "/admin/login/"
    assert not is_signed_in(here)
    assert not is_signed_in(elsewhere)
    last = SignIn.objects.latest("pk")
    assert (last.event, last.actor, last.reason) == ("signed out everywhere", "user:olga", "")


def test_an_administrator_signs_an_account_out_everywhere_with_a_reason(olga: User) -> None:
    here, ada = browser(olga), browser(person("ada", Role.ADMIN, is_staff=True))
    chosen = {"action": "sign_out_chosen", "_selected_action": [olga.pk]}
    asked = ada.post(page(User, "changelist"), chosen)
    assert "olga</bdi> is signed out everywhere" in asked.content.decode()
    chosen["loaded"] = re.findall(r'name="loaded" value="(.+?)"', asked.content.decode())

    assert "Nothing was done" in ada.post(page(User, "changelist"), chosen).content.decode()
    assert is_signed_in(here)
    answer = ada.post(page(User, "changelist"), chosen | {"change_reason": "A laptop was stolen."}, follow=True)

    assert "Signed out everywhere: olga." in answer.content.decode()
    assert not is_signed_in(here)
    assert is_signed_in(ada)
    last = SignIn.objects.latest("pk")
    assert (last.event, last.actor) == ("signed out everywhere", "user:olga")
    assert last.reason == "By user:ada. A laptop was stolen."


def test_an_account_cannot_keep_an_administrator_from_signing_it_out_or_deactivating_it(olga: User) -> None:
    here, ada = browser(olga), browser(person("ada", Role.ADMIN, is_staff=True))
    chosen = {"action": "sign_out_chosen", "_selected_action": [olga.pk]}
    asked = ada.post(page(User, "changelist"), chosen).content.decode()
    url = page(User, "change", olga.pk)
    form = load(ada, url)
    chosen["loaded"] = re.findall(r'name="loaded" value="(.+?)"', asked)
    User.objects.filter(pk=olga.pk).update(password="another", first_name="Eve")  # noqa: S106

    ada.post(page(User, "changelist"), chosen | {"change_reason": "A laptop was stolen."})
    assert not is_signed_in(here)

    User.objects.filter(pk=olga.pk).update(first_name="")
    del form["is_active"]
    assert ada.post(url, form | {"change_reason": "A laptop was stolen."}).status_code == 302
    olga.refresh_from_db()
    assert (olga.is_active, olga.password) == (False, "another")


@pytest.mark.parametrize("alone", [True, False])
def test_nobody_keeps_a_passkey_by_another_name_or_a_factor_by_other_codes(olga: User, alone: bool) -> None:
    ada = browser(person("ada", Role.ADMIN, is_staff=True))
    for row in (Passkey.objects.get(), SecondFactor.objects.get()):
        model = type(row)
        chosen = {} if alone else {"action": "delete_chosen", "_selected_action": [row.pk]}
        url = page(model, "delete", row.pk) if alone else page(model, "changelist")
        asked = (ada.get(url) if alone else ada.post(url, chosen)).content.decode()
        loaded = re.findall(r'name="loaded" value="(.+?)"', asked)
        Passkey.objects.update(name="Another")
        SecondFactor.objects.update(recovery=[], secret="another")  # noqa: S106

        ada.post(url, chosen | {"post": "yes", "loaded": loaded, "change_reason": "Stolen."})
        assert not model.objects.exists()


def test_an_administrator_signs_out_many_accounts_and_the_own_one(olga: User) -> None:
    ada = person("ada", Role.ADMIN, is_staff=True)
    client = browser(ada)
    others = User.objects.bulk_create([User(username=token_hex(17)) for _ in range(99)])
    pks = [ada.pk, *(one.pk for one in others)]
    chosen: dict[str, Any] = {"action": "sign_out_chosen", "_selected_action": pks}
    asked = client.post(page(User, "changelist"), chosen).content.decode()
    chosen["loaded"] = re.findall(r'name="loaded" value="(.+?)"', asked)

    answer = client.post(page(User, "changelist"), chosen | {"change_reason": "An exercise."})

    assert (answer.status_code, SignIn.objects.filter(event="signed out everywhere").count()) == (302, 100)
    shown = client.get("/admin/login/").content.decode()
    assert "Signed out everywhere: " in shown
    assert " and 90 more." in shown
    assert not is_signed_in(client)
