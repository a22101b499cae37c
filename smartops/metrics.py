"""What the web process tells Prometheus of its requests, and where it does."""

import re
from collections.abc import Awaitable, Callable
from functools import cache
from inspect import iscoroutinefunction
from time import perf_counter

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.views.decorators.http import require_GET
from prometheus_client import REGISTRY, Histogram
from prometheus_client.exposition import choose_encoder

from signals import tracing

REQUESTS = Histogram(
    "smartops_http_request_duration_seconds",
    "Requests to the web process; a direct action's takes as long as its caller waits.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@require_GET
async def metrics(request: HttpRequest) -> HttpResponse:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


@sync_and_async_middleware
def measured(
    get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            start = perf_counter()
            response: HttpResponseBase = await get_response(request)
            _record(request, response, perf_counter() - start)
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        start = perf_counter()
        response: HttpResponseBase = get_response(request)  # type: ignore[assignment]
        _record(request, response, perf_counter() - start)
        return response

    return synchronous


def _record(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """Routes, not paths, and no method that somebody made up: both have a bound."""
    method = request.method if request.method in METHODS else "other"
    REQUESTS.labels(method, _route(request), response.status_code).observe(seconds, tracing.exemplar())


def _route(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    return "none" if match is None else _in_words(match.route)


@cache
def _in_words(route: str) -> str:
    """With its variables as OpenAPI writes them. All of the admin is one."""
    return "/admin/" if route.startswith("admin/") else "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
