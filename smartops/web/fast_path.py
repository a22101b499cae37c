"""The short middleware chain of the API, the probes and `/metrics` (docs/adr/0019-the-api-and-its-fast-path.md)."""

from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.exception import convert_exception_to_response
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware
from django.urls import ResolverMatch, resolve
from django.utils.decorators import async_only_middleware

from smartops.web.types import GetResponse

MIDDLEWARE: dict[str, tuple[Any, ...]] = {
    "/v1/": (SecurityMiddleware, CommonMiddleware),
    # The kubelet and Prometheus send the pod's address as Host. It is not in ALLOWED_HOSTS, and CommonMiddleware would
    # refuse it.
    "/healthz": (SecurityMiddleware,),
    "/readyz": (SecurityMiddleware,),
    "/metrics": (SecurityMiddleware,),
}


@async_only_middleware
def fast_path(get_response: GetResponse) -> GetResponse:
    """API, probe and metrics requests need no session, CSRF, message or frame middleware. Each of those is synchronous
    and costs a request two switches between the event loop and a thread. The remaining ones never block, so their
    hooks are called on the event loop."""
    view: Any = convert_exception_to_response(_view)
    chains = {prefix: [one(view) for one in middleware] for prefix, middleware in MIDDLEWARE.items()}

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        chain = next((found for prefix, found in chains.items() if request.path_info.startswith(prefix)), None)
        if chain is None:
            return await get_response(request)
        for one in chain:
            one.process_request(request)
        response: HttpResponseBase = await view(request)
        for one in reversed(chain):
            response = one.process_response(request, response)
        return response

    return middleware


async def _view(request: HttpRequest) -> HttpResponseBase:
    if request.method == "HEAD":
        request.method = "GET"  # the server sends the header alone
    match = request.resolver_match = resolve(request.path_info)
    if not iscoroutinefunction(match.func):
        return await sync_to_async(_synchronous_view)(match, request)
    try:
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        return response
    finally:
        await sync_to_async(release_connection)()


def _synchronous_view(match: ResolverMatch, request: HttpRequest) -> HttpResponseBase:
    try:
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response
    finally:
        release_connection()


def release_connection() -> None:
    """Returns the connection of this thread to the pool. In a test, the request may be part of a transaction."""
    if not connection.in_atomic_block:
        connection.close()
