"""The sessions of people: Django's sessions in the database, each with its account. So those of one account can end.

A sign-out deletes one. Another password makes Django refuse the others. Triggers delete all of an account when it is
deactivated or activated, and when a passkey or a second factor of it is removed, for every role and every statement. A
session keeps its row from the right password to its end, also under another key. So a request that is being answered
cannot store an ended session again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pgtrigger
from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY, update_session_auth_hash
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.http import HttpRequest

from signals.lib import triggers

HALF = "half_signed_in"  # the key in the data of a sign-in whose second step is missing (smartops/web/second_factor.py)
ENDED = "Your session has ended, or your account was changed in another window. Nothing was done. Reload this page."


class Session(AbstractBaseSession):
    """`account`: who has signed in with it, or has to show a second factor; empty before the password."""

    account = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")

    def __str__(self) -> str:
        """The key is a secret."""
        return f"of {self.account or 'nobody'}"

    @classmethod
    def get_session_store_class(cls) -> "type[SessionStore]":
        return SessionStore


class SessionStore(db.SessionStore):
    """SESSION_ENGINE names this module."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        return _with_account(super().create_model_instance(data), data)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        return _with_account(await super().acreate_model_instance(data), data)

    def cycle_key(self) -> None:
        """The session of an account keeps its row, under another key. Django inserts a second row, and a transaction
        that ends the session at the same time does not see it. Raises SessionInterrupted, which is answered with 400,
        if it has ended."""
        data = dict(self.items())  # loads it: without a row, there is no key
        if self.session_key is None or not (SESSION_KEY in data or HALF in data):
            super().cycle_key()
            return
        row, key = self.create_model_instance(data), self._get_new_session_key()  # type: ignore[attr-defined]
        becomes = {"session_data": row.session_data, "expire_date": row.expire_date, "account": row.account_id}
        if not Session.objects.filter(pk=row.pk).update(session_key=key, **becomes):
            raise SessionInterrupted("The session has ended while the request was answered.")
        self._session_key, self.modified = key, True

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()


def _with_account(made: Any, data: dict[str, Any]) -> Session:
    row: Session = made
    account = data.get(SESSION_KEY) or data.get(HALF, {}).get("user")
    row.account_id = account and int(account)
    return row


def lock(**accounts: Any) -> None:
    """Until the transaction ends. A transaction that ends sessions of an account, or continues one, locks the row of
    the account before its second factor, its passkeys and its sessions, so there is no deadlock."""
    list(User.objects.select_for_update(of=("self",), no_key=True).filter(**accounts).order_by("pk"))


def end(user: Any) -> None:
    """Signs the account out everywhere."""
    with transaction.atomic():
        lock(pk=user.pk)
        Session.objects.filter(account=user.pk).delete()


@contextmanager
def going_on(request: HttpRequest, user: User) -> Iterator[None]:
    """The session of the request goes on, under another key; the others of the account end. The block stores another
    hash of the password in the row and in `user`, and may remove what the triggers watch: until the block has ended,
    they do not see this session. Raises ValidationError, before the block, if it has ended."""
    with transaction.atomic():
        lock(pk=user.pk)
        if not Session.objects.filter(pk=request.session.session_key).update(account=None):
            raise ValidationError(ENDED)
        yield
        update_session_auth_hash(request, user)


def ends_sessions(
    account: str,
    operation: pgtrigger.Operation = pgtrigger.Delete,
    condition: pgtrigger.Condition = pgtrigger.Condition("TRUE"),  # noqa: B008 - a value
) -> triggers.Unswitched:
    """For each row that fulfils the condition. `account`: whose sessions end, in SQL about OLD."""
    ends = f"DELETE FROM smartops_session WHERE account_id = {account}; RETURN NULL;"  # noqa: S608 - our names
    return triggers.after("ends_sessions", operation, ends, condition)
