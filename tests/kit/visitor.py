"""Requests of one person to the views of console and admin, without the middlewares in front of them.

The middlewares find out who asks and refuse forged forms. The views decide what the person sees and does. A test of
hundreds of pages calls the views alone, which takes a fraction of the time.
"""

from functools import cache
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.messages.storage import default_storage
from django.core.exceptions import PermissionDenied
from django.core.handlers.exception import response_for_exception
from django.http import Http404
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.urls import resolve

from signals import actors
from signals.lib.acting import acting
from smartops.web.peers import peer_of


class Visitor:
    """Answers are Django's responses. Those of the admin have a `context_data`, and are not rendered: see `text_of`.
    Errors of a view other than 403 and 404 are raised."""

    def __init__(self, user: User | AnonymousUser) -> None:
        self.user: Any = user
        self._requests = RequestFactory()

    def get(self, url: str, data: Any = None, headers: Any = None) -> Any:
        return self._send(self._requests.get(url, data, headers=headers))

    def post(self, url: str, data: Any = None, headers: Any = None, **environ: Any) -> Any:
        return self._send(self._requests.post(url, data, headers=headers, **environ))

    def _send(self, request: Any) -> Any:
        request.user = self.user
        request.session = import_module(settings.SESSION_ENGINE).SessionStore()
        request._messages = default_storage(request)
        request._dont_enforce_csrf_checks = True  # as the requests of Django's own client
        view = request.resolver_match = _resolved(request.path_info, settings.ROOT_URLCONF)
        name = actors.user(self.user.get_username()) if self.user.is_authenticated else ""
        try:
            with acting(name, peer_of(request)):
                return view.func(request, *view.args, **view.kwargs)
        except (Http404, PermissionDenied) as error:
            return response_for_exception(request, error)


_resolved = cache(resolve)  # Django looks through all addresses, and a walk asks for the same page as many people


def text_of(answer: Any) -> str:
    """The page, rendered."""
    if isinstance(answer, SimpleTemplateResponse):
        answer.render()
    return str(answer.content.decode())
