"""What the web process tells Prometheus of its requests, by django-prometheus; and where it does."""

import re
from collections.abc import Awaitable, Callable
from functools import cache
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.views.decorators.http import require_GET
from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware
from prometheus_client import REGISTRY, Histogram
from prometheus_client.exposition import choose_encoder

from signals.lib import tracing


@require_GET
async def metrics(request: HttpRequest) -> HttpResponse:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


@sync_and_async_middleware
def measured(
    get_response: Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    """By itself, django-prometheus's middleware would turn each asynchronous request to a thread and back, twice."""
    requests = Requests(get_response)
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            requests.process_request(request)
            response: HttpResponseBase = await get_response(request)
            measured_response: HttpResponseBase = requests.process_response(request, response)
            return measured_response

        return asynchronous
    return requests


class Exemplified(Histogram):
    """An observation shows the trace that it belongs to, where one is recorded."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        super().observe(amount, exemplar or tracing.exemplar())


class RequestMetrics(Metrics):  # type: ignore[misc]
    def register_metric(self, metric_cls: type[Any], *named: Any, **how: Any) -> Any:
        return super().register_metric(Exemplified if metric_cls is Histogram else metric_cls, *named, **how)


class Requests(PrometheusAfterMiddleware):  # type: ignore[misc]
    """Of routes, not of paths and names, and of no method that somebody made up: both have a bound."""

    metrics_cls = RequestMetrics

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: str) -> Any:
        bounded = {"view": _route(request), "method": self._method(request)}
        return super().label_metric(
            metric, request, response, **{name: bounded.get(name, labels[name]) for name in labels}
        )


def _route(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    return "none" if match is None else _in_words(match.route)


@cache
def _in_words(route: str) -> str:
    """With its variables as OpenAPI writes them. All of the admin is one."""
    return "/admin/" if route.startswith("admin/") else "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
