"""Sessions that end while a request of them is being answered: none goes on."""

import json
import re
from base64 import b32decode
from collections.abc import Callable
from html import unescape
from threading import Event
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.contrib.sessions.exceptions import SessionInterrupted
from django.test import Client

from signals.lib.clock import database_now
from smartops.admin.people import PasskeyAdmin, SecondFactorAdmin
from smartops.models import Passkey, SecondFactor
from smartops.people import totp
from smartops.people.access import access_of
from smartops.people.roles import Role
from smartops.people.second_factor import remove_app
from smartops.people.sessions import Session, SessionStore, end
from tests.kit.authenticator import ORIGIN, Authenticator
from tests.kit.forms import confirm
from tests.kit.patience import PATIENCE
from tests.kit.people import PASSWORD, app_of, install_roles, is_signed_in, passkey_of, person
from tests.kit.threads import at_once, wait_for_lock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fast_hashes")]
PAGE = "/console/second-factor/"
Post = Callable[[], Any]


@pytest.fixture
def olga() -> User:
    return person("olga", Role.VIEWER, password=PASSWORD)


def browser(user: User) -> Client:
    client = Client(headers={"Origin": ORIGIN})
    client.force_login(user)
    return client


@pytest.mark.parametrize("in_async_code", [False, True])
def test_an_ended_session_gets_no_other_key(olga: User, in_async_code: bool) -> None:
    browser(olga)
    during = SessionStore(Session.objects.get().session_key)
    during.load()
    during["changed"] = "yes"
    cycle = async_to_sync(during.acycle_key) if in_async_code else during.cycle_key
    cycle()
    assert Session.objects.get().session_key == during.session_key
    end(olga)

    with pytest.raises(SessionInterrupted):
        cycle()
    assert not Session.objects.exists()


def new_password(_: User, here: Client) -> Post:
    new = {"new_password1": "another-long-secret-9", "new_password2": "another-long-secret-9"}
    return lambda: here.post("/console/password/", {"old_password": PASSWORD, **new})


def new_app(_: User, here: Client) -> Post:
    found = re.search(r'<code class="key">(\w+)</code>', here.get(f"{PAGE}app/").content.decode())
    assert found
    code = totp.code(b32decode(found[1]), totp.counter_at(database_now()))
    return lambda: here.post(f"{PAGE}app/", {"code": code, "password": PASSWORD})


def no_app(user: User, here: Client) -> Post:
    app_of(user)
    return lambda: here.post(f"{PAGE}app/remove/", {"password": PASSWORD})


def new_passkey(_: User, here: Client) -> Post:
    url = f"{PAGE}passkeys/add/"
    asked = here.post(url, {"name": "Laptop", "password": PASSWORD}).content.decode()
    found = re.search(r'data-options="([^"]+)"', asked)
    assert found
    answer = Authenticator().create(json.loads(unescape(found[1])))
    return lambda: here.post(url, {"answer": answer})


def no_passkey(user: User, here: Client) -> Post:
    passkey_of(user)
    url = f"{PAGE}passkeys/{Passkey.objects.get().pk}/remove/"
    return lambda: here.post(url, {"password": PASSWORD})


def stored() -> list[Any]:
    return [[*rows.order_by("pk").values()] for rows in (User.objects, SecondFactor.objects, Passkey.objects)]


@pytest.mark.parametrize("act", [new_password, new_app, no_app, new_passkey, no_passkey], ids=lambda one: one.__name__)
def test_a_change_of_the_own_account_does_nothing_in_a_session_that_has_ended(
    olga: User, monkeypatch: pytest.MonkeyPatch, act: Callable[[User, Client], Post]
) -> None:
    here = browser(olga)
    post, before = act(olga, here), stored()

    def ended(user: User) -> Any:
        """The person was found, and the form is not checked yet."""
        end(user)
        return access_of(user)

    with monkeypatch.context() as patch:
        patch.setattr("smartops.console.pages.access_of", ended)
        answer = post()

    assert answer.status_code in (400, 422)
    assert stored() == before
    assert not Session.objects.exists()
    assert not is_signed_in(here)


def deactivated_and_activated(user: User) -> None:
    for is_active in (False, True):
        User.objects.filter(pk=user.pk).update(is_active=is_active)


def without_passkey(_: User) -> None:
    Passkey.objects.all().delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", [end, deactivated_and_activated, without_passkey], ids=lambda one: one.__name__)
def test_what_ends_the_sessions_finds_the_one_that_is_going_on(
    olga: User, monkeypatch: pytest.MonkeyPatch, ending: Callable[[User], None]
) -> None:
    install_roles()
    app_of(olga)
    passkey_of(olga)
    here, begun = browser(olga), Event()

    def while_the_other_waits(*args: Any) -> None:
        begun.set()
        wait_for_lock()
        remove_app(*args)

    def other() -> int:
        begun.wait(PATIENCE)
        ending(olga)
        return 0

    monkeypatch.setattr("smartops.console.second_factor.remove_app", while_the_other_waits)
    owner = lambda: here.post(f"{PAGE}app/remove/", {"password": PASSWORD}).status_code  # noqa: E731
    status, _ = at_once([owner, other])

    assert status in (302, 400), "the session has ended before or after the middleware stores it"
    assert not Session.objects.exists()
    assert not is_signed_in(here)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", [PasskeyAdmin, SecondFactorAdmin])
def test_an_administrator_and_a_page_of_the_owner_remove_a_passkey_without_a_deadlock(
    olga: User, monkeypatch: pytest.MonkeyPatch, page: Any
) -> None:
    """The administrator has locked the rows, and deletes them when the owner waits."""
    install_roles()
    here = browser(olga)
    post, begun, delete = no_passkey(olga, here), Event(), page.delete_model
    ada = browser(person("ada", Role.ADMIN, is_staff=True))
    chosen: Any = Passkey.objects.get() if page is PasskeyAdmin else SecondFactor.objects.get()

    def when_the_owner_waits(*args: Any) -> None:
        begun.set()
        wait_for_lock()
        delete(*args)

    def owner() -> int:
        begun.wait(PATIENCE)
        return int(post().status_code)

    def administrator() -> int:
        return int(confirm(ada, chosen, "delete_chosen", change_reason="Stolen.").status_code)

    monkeypatch.setattr(page, "delete_model", when_the_owner_waits)
    assert at_once([administrator, owner]) == [200, 422]
    assert not SecondFactor.objects.exists()
    assert not is_signed_in(here)
