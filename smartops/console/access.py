"""Who may use the console."""

from importlib import import_module
from typing import Any

from channels.auth import get_user
from django.conf import settings

from smartops.people.access import Right, access_of


def may_read(user: Any) -> bool:
    """Active accounts that may read something."""
    return access_of(user).has(Right.READ)


async def user_of_session(key: str | None) -> Any:
    """The user as stored now. Anonymous if the session has ended, or if the password has changed since it began."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    scope: Any = {"session": store(key)}
    return await get_user(scope)
