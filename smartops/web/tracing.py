"""Spans of HTTP requests, made by opentelemetry-instrumentation-django within an asynchronous middleware."""

from asyncio import CancelledError

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.django.middleware.otel_middleware import _DjangoMiddleware
from opentelemetry.trace import Span

from signals.lib.redaction import redacted
from smartops.web.types import GetResponse

UNTRACED = ("/healthz", "/readyz", "/metrics", "/static/")  # frequent machine requests; no trace needs them
CLIENT_CLOSED_REQUEST = 499


class Instrumentor(DjangoInstrumentor):
    """Installs `traced` in place of its own middleware, which is synchronous and would switch every request to a thread
    and back."""

    _opentelemetry_middleware = "smartops.web.tracing.traced"


@async_only_middleware
def traced(get_response: GetResponse) -> GetResponse:
    spans = _DjangoMiddleware(get_response)

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(UNTRACED) or not _begins(spans, request):
            return await get_response(request)
        try:
            response = await get_response(request)
        except CancelledError:  # the client closed the connection
            spans.process_response(request, HttpResponse(status=CLIENT_CLOSED_REQUEST))
            raise
        spans.process_view(request, None)  # names the span by its route; requests of the fast path have no other call
        traced_response: HttpResponseBase = spans.process_response(request, response)
        return traced_response

    return middleware


def without_query(span: Span, _request: HttpRequest) -> None:
    """A caller may have put a secret into the query, or into the address. The path is in `url.path`."""
    for name, value in dict(getattr(span, "attributes", None) or {}).items():
        if name == "url.query":
            span.set_attribute(name, "")
        elif name in ("url.full", "http.url", "http.target"):  # the latter two by OTEL_SEMCONV_STABILITY_OPT_IN
            span.set_attribute(name, redacted(str(value)).partition("?")[0])


def _begins(spans: _DjangoMiddleware, request: HttpRequest) -> bool:
    try:
        spans.process_request(request)
    except DisallowedHost:  # raised before the span starts; a later middleware answers 400
        return False
    return True
