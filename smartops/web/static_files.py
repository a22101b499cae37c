"""WhiteNoise, also for asynchronous requests."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from inspect import iscoroutinefunction

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]


@sync_and_async_middleware
def static_files(
    get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """WhiteNoise's own middleware is synchronous: within an asynchronous stack it would hold a thread for each request,
    also while that waits for an action; and a thread that waits when the process is told to end, never ends."""
    find = WhiteNoiseMiddleware(lambda _: None)
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            found = find(request)
            return await get_response(request) if found is None else _at_once(found)

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        return find(request) or get_response(request)  # type: ignore[return-value]

    return synchronous


def _at_once(found: HttpResponseBase) -> HttpResponse:
    """The files are small, and an asynchronous server cannot stream from one."""
    with closing(found):
        return HttpResponse(b"".join(found), status=found.status_code, headers=found.headers)
