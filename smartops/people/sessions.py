"""The sessions of people: Django's sessions in the database, each with its account. So those of one account can end.

They end with a sign-out, with another password, when an account is deactivated or activated, and when a passkey or a
second factor of the account is removed: triggers delete the rows, whoever does that and however. A request that is
being answered cannot store the session again.
"""

from typing import Any

import pgtrigger
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from signals.lib import triggers


class Session(AbstractBaseSession):
    """`account`: who has signed in with it; empty before the sign-in."""

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
        row: Session = super().create_model_instance(data)  # type: ignore[assignment]
        row.account_id = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        return row


def end(user: Any) -> None:
    """Signs the account out everywhere."""
    Session.objects.filter(account=user.pk).delete()


def ends_sessions(
    account: str,
    operation: pgtrigger.Operation = pgtrigger.Delete,
    condition: pgtrigger.Condition = pgtrigger.Condition("TRUE"),  # noqa: B008 - a value
) -> triggers.Unswitched:
    """For each row that fulfils the condition. `account`: whose sessions end, in SQL about OLD."""
    ends = f"DELETE FROM smartops_session WHERE account_id = {account}; RETURN NULL;"  # noqa: S608 - our names
    return triggers.after("ends_sessions", operation, ends, condition)
