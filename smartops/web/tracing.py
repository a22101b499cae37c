"""Spans of HTTP requests: those of opentelemetry-instrumentation-django, in an asynchronous chain."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.django.middleware.otel_middleware import _DjangoMiddleware

UNTRACED = ("/healthz", "/readyz", "/metrics", "/static/")  # asked by machines all day, and part of no story
CLIENT_CLOSED_REQUEST = 499


class Instrumentor(DjangoInstrumentor):
    """Puts our middleware in the place of its own, which is synchronous: it would turn every request to a thread and
    back."""

    _opentelemetry_middleware = "smartops.web.tracing.traced"


@async_only_middleware
def traced(
    get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    spans = _DjangoMiddleware(get_response)

    async def asynchronous(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(UNTRACED) or not _begins(spans, request):
            return await get_response(request)
        try:
            response = await get_response(request)
        except CancelledError:  # the caller has left
            spans.process_response(request, HttpResponse(status=CLIENT_CLOSED_REQUEST))
            raise
        spans.process_view(request, None)  # the route is known by now; not all requests pass Django's own call of it
        traced_response: HttpResponseBase = spans.process_response(request, response)
        return traced_response

    return asynchronous


def _begins(spans: _DjangoMiddleware, request: HttpRequest) -> bool:
    try:
        spans.process_request(request)
    except DisallowedHost:  # before there is a span; it is refused where it always is
        return False
    return True
