"""Prometheus metrics of HTTP requests (django-prometheus), and the view that exposes all metrics of the process."""

import re
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from django.views.decorators.http import require_safe
from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware
from prometheus_client import REGISTRY, Histogram
from prometheus_client.exposition import choose_encoder

from signals.lib import tracing
from smartops.web.types import GetResponse


@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(REGISTRY), content_type=content_type)


@async_only_middleware
def measured(get_response: GetResponse) -> GetResponse:
    """Calls the hooks of django-prometheus on the event loop: as a middleware of its own, it is synchronous and would
    switch each request to a thread and back, twice."""
    requests = Requests(get_response)

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        requests.process_request(request)
        response: HttpResponseBase = requests.process_response(request, await get_response(request))
        return response

    return middleware


class Exemplified(Histogram):
    """Each observation carries the id of the current trace as its exemplar, if one is recorded."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        super().observe(amount, exemplar or tracing.exemplar())


class RequestMetrics(Metrics):  # type: ignore[misc]
    def register_metric(self, metric_cls: type[Any], *named: Any, **how: Any) -> Any:
        return super().register_metric(Exemplified if metric_cls is Histogram else metric_cls, *named, **how)


class Requests(PrometheusAfterMiddleware):  # type: ignore[misc]
    """Labels with a bounded number of values: the route in place of the path, and only known HTTP methods."""

    metrics_cls = RequestMetrics

    def label_metric(self, metric: Any, request: HttpRequest, response: Any = None, **labels: str) -> Any:
        bounded = {"view": _route(request), "method": self._method(request)}
        return super().label_metric(
            metric, request, response, **{name: bounded.get(name, labels[name]) for name in labels}
        )


def _route(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    return "none" if match is None else _openapi_path(match.route)


@cache
def _openapi_path(route: str) -> str:
    """The route with variables as in OpenAPI (`{id}`). All pages of the admin are one route."""
    return "/admin/" if route.startswith("admin/") else "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)
