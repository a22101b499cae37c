"""Whose session a websocket has."""

from importlib import import_module
from typing import Any

from channels.auth import get_user
from django.conf import settings


async def user_of_session(key: str | None) -> Any:
    """The user as stored now. Anonymous if the session has ended, or if the password has changed since it began."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    scope: Any = {"session": store(key)}
    return await get_user(scope)
