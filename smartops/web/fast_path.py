"""Requests that no browser sends: from agents with their tokens, from probes, from Prometheus."""

from collections.abc import Awaitable, Callable
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
from django.utils.decorators import sync_and_async_middleware

OF_PATHS: dict[str, tuple[Any, ...]] = {
    "/v1/": (SecurityMiddleware, CommonMiddleware),
    # A kubelet and Prometheus ask by the pod's address: their Host is none of ALLOWED_HOSTS, which Common would refuse.
    "/healthz": (SecurityMiddleware,),
    "/readyz": (SecurityMiddleware,),
    "/metrics": (SecurityMiddleware,),
}


@sync_and_async_middleware
def fast_path(
    get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """Sessions, forms and frames are no concern of theirs, and each middleware costs an asynchronous request two turns
    on another thread. What is left of them never blocks, and runs on the loop."""
    if not iscoroutinefunction(get_response):
        return get_response
    view: Any = convert_exception_to_response(_view)
    of_paths = {path: [one(view) for one in middleware] for path, middleware in OF_PATHS.items()}

    async def asynchronous(request: HttpRequest) -> HttpResponseBase:
        around = next((found for path, found in of_paths.items() if request.path.startswith(path)), None)
        if around is None:
            answer: HttpResponseBase = await get_response(request)
            return answer
        for middleware in around:
            middleware.process_request(request)
        response: HttpResponseBase = await view(request)
        for middleware in reversed(around):
            response = middleware.process_response(request, response)
        return response

    return asynchronous


async def _view(request: HttpRequest) -> HttpResponseBase:
    match = request.resolver_match = resolve(request.path_info)
    if not iscoroutinefunction(match.func):
        return await sync_to_async(_synchronous_view)(match, request)
    try:
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        return response
    finally:
        await sync_to_async(_release_connection)()


def _synchronous_view(match: ResolverMatch, request: HttpRequest) -> HttpResponseBase:
    try:
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response
    finally:
        _release_connection()


def _release_connection() -> None:
    """Returns the connection of this thread to the pool. In a test, the request may be part of a transaction."""
    if not connection.in_atomic_block:
        connection.close()
