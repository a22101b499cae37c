"""People with roles and second factors, the groups of a new installation, and the time of sign-ins."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from signals.lib.clock import database_now
from smartops.models import RoleGrant, SecondFactor, SignInFailures
from smartops.people import passkeys, totp, webauthn
from smartops.people.roles import EVERYWHERE, Place, Role
from smartops.people.second_factor import new_handle, new_secret, opened, set_up
from tests.kit.authenticator import ORIGIN, Authenticator

PASSWORD = "correct-horse-battery"  # noqa: S105


class SignInClock:
    """The time of challenges, codes and failures; tests move it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = timezone.now()
        for module in ("people.second_factor", "web.passkeys", "web.second_factor", "web.failures"):
            patch.setattr(f"smartops.{module}.database_now", lambda: self.now)

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        SignInFailures.objects.update(last_at=self.now - timedelta(minutes=59))  # no pause is left


def first_step(to: str = "/console/", client: Client | None = None) -> Client:
    """A browser in which olga has entered her password, and has to show her second factor."""
    client = client or Client()
    answer = client.post("/admin/login/", {"username": "olga", "password": PASSWORD, "next": to})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/login/code/")
    return client


def is_signed_in(client: Client) -> bool:
    """The page of reasons is that of the console which takes the least time."""
    return client.get("/console/reasons/").status_code == 200


def install_roles() -> None:
    """As the migration does: a test with real transactions ends with empty tables."""
    import_module("smartops.migrations.0002_roles").install(apps, None)


def grant(user: User, role: Role | str, place: Place = EVERYWHERE) -> RoleGrant:
    return RoleGrant.objects.create(user=user, role=role, cluster=place.cluster, namespace=place.namespace)


def person(name: str, role: Role | str | None = None, place: Place = EVERYWHERE, **fields: Any) -> User:
    """An account with a role in one place. Without staff status, unless `fields` have it."""
    user = User.objects.create_user(name, **fields)
    if role is not None:
        grant(user, role, place)
    return user


def passkey_of(user: User, name: str = "Laptop", origin: str = ORIGIN, **device: Any) -> Authenticator:
    """The device of a person, which is registered."""
    made, site, challenge = Authenticator(origin, **device), webauthn.Site.of(origin), b"c" * 32
    stored = SecondFactor.objects.filter(user=user).first()
    handle = bytes(stored.handle) if stored else new_handle()
    options = webauthn.creation_options(site, challenge, user.get_username(), handle, [])
    passkeys.add(user, webauthn.verify_creation(site, challenge, handle, made.create(options)), name)
    return made


def app_of(user: User) -> str:
    """The secret of an authenticator app that is set up, as it is stored."""
    secret = new_secret()
    set_up(user, secret, totp.code(opened(secret) or b"", totp.counter_at(database_now())))
    return secret


def lose_roles() -> None:
    """Nobody has a role any more."""
    for row in RoleGrant.objects.all():
        row.delete()
    for group in Group.objects.all():
        group.user_set.clear()
