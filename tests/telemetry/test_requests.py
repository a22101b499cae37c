"""The span of a request, in the chain that daphne serves."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django.fixtures import Settings

from smartops.web.tracing import CLIENT_CLOSED_REQUEST, Instrumentor, traced
from tests.kit.api import Api


@pytest.fixture
def exporter(settings: Settings) -> Iterator[InMemorySpanExporter]:
    """What is instrumented here tells it its spans."""
    settings.MIDDLEWARE = list(settings.MIDDLEWARE)
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    Instrumentor().instrument(tracer_provider=provider)
    yield exporter
    Instrumentor().uninstrument()


def turns() -> int:
    """How many parts of the chain have to be turned from synchronous to asynchronous or back."""
    turned = []

    class Chain(ASGIHandler):
        def adapt_method_mode(self, is_async: bool, method: Any, *more: Any, **how: Any) -> Any:
            adapted = super().adapt_method_mode(is_async, method, *more, **how)
            turned.append(adapted is not method)
            return adapted

    Chain()
    return sum(turned)


def test_a_span_turns_no_request_to_a_thread(exporter: InMemorySpanExporter, settings: Settings) -> None:
    traced_chain = turns()
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]

    assert traced_chain == turns()


def test_a_caller_who_leaves_ends_the_span(exporter: InMemorySpanExporter) -> None:
    async def never(request: HttpRequest) -> HttpResponseBase:
        await asyncio.Event().wait()
        raise AssertionError

    async def leave() -> None:
        request = asyncio.ensure_future(traced(never)(AsyncRequestFactory().get("/v1/signals")))
        await asyncio.sleep(0)
        request.cancel()
        await request

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())

    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert CLIENT_CLOSED_REQUEST in span.attributes.values()


def test_a_stranger_is_refused_as_ever(exporter: InMemorySpanExporter, api: Api) -> None:
    api.headers["Host"] = "elsewhere.example"

    answer = api.get("/v1/signals")

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert not exporter.get_finished_spans()
