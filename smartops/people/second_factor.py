"""The second factor of a local account: an authenticator app, passkeys (passkeys.py), or both. With the first of them
come recovery codes, for the day on which they are lost.

The secret is encrypted with a key that is derived from SECRET_KEY. Recovery codes are random enough (80 bits) for a
plain digest. (docs/adr/0062-the-second-factor-is-our-own.md)
"""

import os
from base64 import b32encode, urlsafe_b64encode
from enum import StrEnum
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models.functions import Now

from signals import actors
from signals.lib import triggers
from signals.lib.acting import acting
from signals.lib.clock import database_now
from smartops.people import totp
from smartops.people.keys import HANDLE
from smartops.people.sessions import ends_sessions

RECOVERY_CODES = 10
ISSUER = "SmartOps"


def new_handle() -> bytes:
    """Random: it says nothing of the account."""
    return os.urandom(HANDLE)


class AlreadySetUpError(Exception):
    """The account has an authenticator app."""


class Proof(StrEnum):
    """What a person has entered, or signed with."""

    CODE = "password and code"
    RECOVERY_CODE = "password and recovery code"
    PASSKEY = "passkey"
    PASSWORD_AND_PASSKEY = "password and passkey"  # noqa: S105


class SecondFactor(models.Model):
    """An account with a row has an app, a passkey or both. `secret`: of the app, encrypted; empty without an app.
    `used_counter`: of the last code that was accepted; it only grows, so a code is accepted once. `recovery`: the
    digests of the recovery codes that are left, as a list of hexadecimal strings. `handle`: what passkeys know the
    account by."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="second_factor")
    secret = models.TextField(blank=True, default="")
    used_counter = models.BigIntegerField(default=0)
    recovery = models.JSONField()
    handle = models.BinaryField(max_length=HANDLE, unique=True, default=new_handle)
    made_at = models.DateTimeField("set up at", db_default=Now())

    class Meta:
        verbose_name = "second factor"
        triggers = [
            *triggers.recorded(secrets=("secret", "recovery", "handle"), volatile=("used_counter",)),
            ends_sessions("OLD.user_id"),
        ]

    def __str__(self) -> str:
        return f"of {self.user}"


def is_asked(user: Any) -> bool:
    """At the sign-in with a password."""
    return SecondFactor.objects.filter(user=user.pk).exists()


def is_missing(user: Any) -> bool:
    """The account has to set up its second factor before anything else. An account without a password signs in by an
    OpenID provider, which asks for what it wants."""
    required: bool = settings.SMARTOPS_REQUIRE_MFA
    return required and user.is_authenticated and user.has_usable_password() and not is_asked(user)


def new_secret() -> str:
    """Encrypted."""
    return _box().encrypt(os.urandom(20)).decode()


def opened(secret: str) -> bytes | None:
    """None if it was encrypted with another SECRET_KEY."""
    try:
        return _box().decrypt(secret)
    except InvalidToken:
        return None


def get_or_create_locked(user: User, **first: Any) -> tuple[SecondFactor, list[str]]:
    """The row of the account, locked until the transaction ends, and its new recovery codes. `first`: the columns of a
    row that does not exist yet. The list is empty if the row existed: stored codes cannot be read again."""
    codes = _new_codes()
    row, is_new = SecondFactor.objects.select_for_update(of=("self",)).get_or_create(
        user=user, defaults={"recovery": _digests(codes), **first}
    )
    return row, codes if is_new else []


def set_up(user: User, secret: str, entered: str) -> list[str] | None:
    """Stores the app if the code is right, and returns the recovery codes that were made. None: the code is wrong.
    Raises AlreadySetUpError."""
    counter = _counter(secret, entered)
    if counter is None:
        return None
    with transaction.atomic():
        row, codes = get_or_create_locked(user, secret=secret, used_counter=counter)
        if not codes:  # the account has a factor
            if row.secret:
                raise AlreadySetUpError
            row.secret, row.used_counter = secret, counter
            row.save(update_fields=["secret", "used_counter"])
    return codes


def remove_app(user: User, secret: str) -> None:
    """If it is still the one with this secret. Recovery codes end with the last factor."""
    with transaction.atomic():
        for row in SecondFactor.objects.select_for_update(of=("self",)).filter(user=user, secret=secret):
            if row.passkeys.exists():
                row.secret = ""
                row.save(update_fields=["secret"])
            else:
                row.delete()


def renew_codes(user: User) -> list[str]:
    """New recovery codes. The earlier ones end. Raises DoesNotExist if the account has no second factor any more."""
    codes = _new_codes()
    with transaction.atomic():
        row = SecondFactor.objects.select_for_update(of=("self",)).get(user=user)
        row.recovery = _digests(codes)
        row.save(update_fields=["recovery"])
    return codes


def verify(user: User, entered: str) -> Proof | None:
    """Uses the code up. None: it is wrong, was used before, or the account has no second factor any more."""
    plain = _plain(entered)
    if len(plain) != totp.DIGITS:
        return Proof.RECOVERY_CODE if _use_recovery_code(user, plain) else None
    for row in SecondFactor.objects.filter(user=user):
        counter = _counter(row.secret, plain)
        if counter is not None:
            # Of two requests with one code, the second finds the counter of the first.
            unused = SecondFactor.objects.filter(user=user, secret=row.secret, used_counter__lt=counter)
            return Proof.CODE if unused.update(used_counter=counter) else None
    return None


def _new_codes() -> list[str]:
    codes = [b32encode(os.urandom(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    return ["-".join(one[at : at + 4] for at in range(0, 16, 4)) for one in codes]


def _digests(codes: list[str]) -> list[str]:
    return [_digest(_plain(one)) for one in codes]


def _use_recovery_code(user: User, plain: str) -> bool:
    digest = _digest(plain)
    with transaction.atomic(), acting(actors.user(user.get_username()), reason="A recovery code was used."):
        row = SecondFactor.objects.select_for_update(of=("self",)).filter(user=user).first()
        if row is None or digest not in row.recovery:
            return False
        row.recovery = [one for one in row.recovery if one != digest]
        row.save(update_fields=["recovery"])
    return True


def _counter(secret: str, entered: str) -> int | None:
    found = opened(secret)
    return None if found is None else totp.counter_of(found, _plain(entered), database_now())


def _plain(entered: str) -> str:
    """People type codes with the spaces and hyphens that they see."""
    return "".join(entered.split()).replace("-", "").lower()


def _digest(plain: str) -> str:
    return sha256(plain.encode()).hexdigest()


def _box() -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"smartops second factor")
    return Fernet(urlsafe_b64encode(key.derive(settings.SECRET_KEY.encode())))
