"""Static files by WhiteNoise, without its synchronous middleware."""

from contextlib import closing
from functools import cache

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from smartops.web.types import GetResponse


@async_only_middleware
def static_files(get_response: GetResponse) -> GetResponse:
    """WhiteNoise's own middleware would hold a thread for the whole request, also while it waits for an action. A
    thread that still waits when the process receives SIGTERM never ends."""
    find = _finder()

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        found = find(request)
        return await get_response(request) if found is None else _read(found)

    return middleware


@cache
def _finder() -> WhiteNoiseMiddleware:
    """Reads all files, once in a process: each client of the tests has a stack of middleware of its own."""
    return WhiteNoiseMiddleware(lambda _: None)


def _read(found: HttpResponseBase) -> HttpResponse:
    """The whole file: the files are small, and an ASGI server cannot stream from a synchronous iterator."""
    with closing(found):
        return HttpResponse(b"".join(found), status=found.status_code, headers=found.headers)
