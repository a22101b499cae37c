"""One signal is one story: the spans of all processes that had to do with it, joined by the trace context that is
stored with it. Without `start`, or where OTEL_EXPORTER_OTLP_ENDPOINT is unset, there is no SDK and no span records."""

import atexit
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

GRACE = 1.0  # seconds that the end of a process may wait for the collector

_tracer = trace.get_tracer("smartops")
_w3c = TraceContextTextMapPropagator()


def start(role: str) -> bool:
    """Sends spans by OTLP over gRPC, from a bounded queue on a thread of its own: who waits for the collector is that
    thread, and what does not fit is dropped. The standard OTEL_* variables say where to, whose, and how many."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return False
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # the stable names, not those from before
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = {
        "service.name": "smartops-orchestrator",
        "service.instance.id": f"{socket.gethostname()}/{os.getpid()}",
        "smartops.role": role,
    }
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())  # whoever installs us has the last word
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    ending = Event()

    def send_the_last() -> None:
        ending.wait()
        provider.shutdown()

    last = Thread(target=send_the_last, name="last spans", daemon=True)
    last.start()  # now: from Python 3.12 on there are no new threads at the end

    @atexit.register
    def stop() -> None:
        """The SDK's own end waits up to half a minute for a collector that is silent."""
        ending.set()
        last.join(GRACE)
        if last.is_alive():
            exporter.shutdown()  # ends the call under way

    return True


def traceparent() -> str:
    """Of the current span, as W3C writes it: what is stored; "" where there is none."""
    return context_of(trace.get_current_span())


def context_of(span: Span) -> str:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")


def recording() -> bool:
    return trace.get_current_span().is_recording()


def exemplar() -> dict[str, str] | None:
    """What a histogram shows beside a bucket: the trace of this observation, where one is recorded."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.trace_flags.sampled else None


def start_span(name: str, parent: str = "", **about: object) -> Span:
    """A span that somebody else ends; one that is never ended is never told. It continues `parent`, or what is
    current. `about`: ids, by what they are of."""
    return _tracer.start_span(name, _context(parent), attributes=_ids(about))


def start_linked_span(name: str) -> Span:
    """Like `begin`, for one of many that came in one request: a trace of its own, linked to the request's."""
    request = trace.get_current_span().get_span_context()
    return _tracer.start_span(name, Context(), kind=SpanKind.PRODUCER, links=[Link(request)])


@contextmanager
def within(span: Span, **about: object) -> Iterator[None]:
    """Makes it the current span, for a while, and puts the ids on every line of the log."""
    known = {name: str(value) for name, value in about.items() if value}
    with bound_contextvars(**known), trace.use_span(span, record_exception=False, set_status_on_exception=False):
        yield


@contextmanager
def step(name: str, parent: str = "", **about: object) -> Iterator[Span]:
    """One step of a story, with its ids on the span and on every line of the log."""
    span = start_span(name, parent, **about)
    with _ended(span), within(span, **about):
        yield span


@contextmanager
def call(name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
    """A call to another server. Outside of a story it is not told: a watch, a probe."""
    if not recording():
        yield trace.INVALID_SPAN
        return
    span = _tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
    with _ended(span), within(span):
        yield span


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    """With the kind of the error that ended it. Never its message: that may quote a payload."""
    try:
        yield
    except Exception as error:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(StatusCode.ERROR)
        raise
    finally:
        span.end()


def _context(parent: str) -> Context | None:
    return _w3c.extract({"traceparent": parent}, Context()) if parent else None


def _ids(about: Mapping[str, object]) -> dict[str, str]:
    return {f"smartops.{name}.id": str(value) for name, value in about.items() if value}
