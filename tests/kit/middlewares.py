"""Requests of Django's test client that do not leave its thread.

All middlewares of SmartOps are asynchronous, and those of Django are both. The test client would run ours on an event
loop of each request, and change the thread ten times. But ours wait for nothing except the next one, so their
coroutines can be run to their end where they are called. Requests to the API do wait, and are left to Django. The tests
with real servers, and those of the API, use an event loop as a deployment does.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.core.handlers import base
from django.core.signals import setting_changed
from django.test import client
from django.utils.module_loading import import_string

from smartops.web.fast_path import MIDDLEWARE

Handler = client.ClientHandler
# No middleware reads these when it is made, and most tests set them: for plain HTTP and fast hashes.
READ_LATER = {"SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SMARTOPS_INSECURE_HTTP", "PASSWORD_HASHERS"}
_loaded: dict[tuple[str, ...], "DirectHandler"] = {}


class DirectHandler(Handler):
    """The middlewares are loaded once for all clients, until a setting changes."""

    _waiting: Handler | None = None

    def __call__(self, environ: dict[str, Any]) -> Any:
        if not (settings.SMARTOPS_REQUIRE_MFA or environ["PATH_INFO"].startswith((*MIDDLEWARE,))):
            return super().__call__(environ)
        self._waiting = self._waiting or Handler(self.enforce_csrf_checks)
        return self._waiting(environ)

    def load_middleware(self, is_async: bool = False) -> None:
        key = (*settings.MIDDLEWARE,)
        if key not in _loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(base, "import_string", _import)
                super().load_middleware(is_async)
            _loaded[key] = self
        vars(self).update({name: one for name, one in vars(_loaded[key]).items() if "_middleware" in name})


def _import(path: str) -> Any:
    found = import_string(path)
    return found if getattr(found, "sync_capable", True) else _synchronous(found)


def _synchronous(factory: Callable[..., Any]) -> Callable[..., Any]:
    def middleware(get_response: Callable[..., Any]) -> Callable[..., Any]:
        async def next_one(request: Any) -> Any:
            return get_response(request)

        call = factory(next_one)

        def run(request: Any) -> Any:
            try:
                call(request).send(None)
            except StopIteration as end:
                return end.value
            raise AssertionError(f"{factory.__name__} waits.")

        return run

    return middleware


def run_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all clients that are made from now on."""
    monkeypatch.setattr(client, "ClientHandler", DirectHandler)
    setting_changed.connect(_forget)


def _forget(setting: str, **_: Any) -> None:
    if setting not in READ_LATER:
        _loaded.clear()
