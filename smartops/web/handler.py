"""Django's ASGI handler at a lower cost per request (docs/adr/0024-one-thread-switch-per-api-request.md)."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from smartops.web.bodies import Bodies
from smartops.web.fast_path import MIDDLEWARE

PATHS = tuple(MIDDLEWARE)
MAX_IDLE_THREADS = 64


class Thread(ThreadSensitiveContext):
    """The thread that asgiref keeps for this context. It is abandoned if its client disconnects, or its request is
    cancelled: a synchronous view cannot be interrupted, so the thread may be busy for a while."""

    is_abandoned = False

    def end(self) -> None:
        """Ends the thread as soon as its view returns, and its database connection goes back to the pool."""
        if executor := SyncToAsync.context_to_thread_executor.pop(self, None):
            executor.submit(connections.close_all)
            executor.shutdown(wait=False)


class Handler(ASGIHandler):
    """Each request has a thread of its own for as long as it lasts, as with Django. The thread is then kept for a later
    request, where Django ends it and starts another.

    Requests of the fast path do not send `request_started` and `request_finished`: their receivers are synchronous, and
    each signal would cost a switch to the thread. `fast_path` closes the database connection in their place.
    """

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[Thread] = []
        self._bodies = Bodies()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix(get_script_prefix(scope))
        with self._thread(), self._bodies.of(scope, path, receive) as bounded:
            if path.startswith(PATHS):
                await self._answer(scope, bounded, send)
            else:
                await self.handle(scope, bounded, send)

    @contextmanager
    def _thread(self) -> Iterator[None]:
        """The thread of all synchronous code of this request. asgiref keeps it for as long as its context lives."""
        thread = self._idle.pop() if self._idle else Thread()
        token = SyncToAsync.thread_sensitive_context.set(thread)
        try:
            yield
        except BaseException:
            thread.is_abandoned = True
            raise
        finally:
            SyncToAsync.thread_sensitive_context.reset(token)
            if thread.is_abandoned or len(self._idle) >= MAX_IDLE_THREADS:
                thread.end()
            else:
                self._idle.append(thread)

    async def listen_for_disconnect(self, receive: Any) -> None:
        try:
            await super().listen_for_disconnect(receive)
        except RequestAborted:
            thread = SyncToAsync.thread_sensitive_context.get()
            assert isinstance(thread, Thread)
            thread.is_abandoned = True
            raise

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body):
            set_script_prefix(get_script_prefix(scope))
            request, error = self.create_request(scope, body)
            response = await self._response_unless_aborted(request, receive) if request else error
            if response is not None:
                await self.send_response(response, send)

    async def _response_unless_aborted(self, request: HttpRequest, receive: Any) -> HttpResponseBase | None:
        """None if the client disconnects first: then the view is cancelled."""
        response: HttpResponseBase | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                disconnect = tasks.create_task(self.listen_for_disconnect(receive))
                response = await self.run_get_response(request)
                disconnect.cancel()
        except* RequestAborted:
            response = None
        return response
