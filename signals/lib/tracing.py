"""OpenTelemetry spans. One signal is one trace across all processes: its row stores the trace context.

Without `start`, or if OTEL_EXPORTER_OTLP_ENDPOINT is unset, no SDK is loaded and no span is recorded.
"""

import atexit
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

GRACE = 1.0  # seconds that the exit of a process may wait for the collector

_tracer = trace.get_tracer("smartops")
_w3c = TraceContextTextMapPropagator()


def start(role: str) -> bool:
    """Exports spans by OTLP over gRPC, from a bounded queue on a thread of its own: only that thread waits for the
    collector, and spans that do not fit are dropped. The standard OTEL_* variables configure it. `role` becomes the
    resource attribute `smartops.role`. Returns whether spans are recorded."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return False
    logging.getLogger("opentelemetry.util.re").addFilter(_without_header)
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # the stable names, not those from before
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    attributes = {
        "service.name": "smartops-orchestrator",
        "service.instance.id": f"{socket.gethostname()}/{os.getpid()}",
        "smartops.role": role,
    }
    resource = Resource.create(attributes).merge(OTELResourceDetector().detect())  # OTEL_RESOURCE_ATTRIBUTES wins
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    ending = Event()

    def flush() -> None:
        ending.wait()
        provider.shutdown()

    flushing = Thread(target=flush, name="flush spans", daemon=True)
    flushing.start()  # now: since Python 3.12, no thread can be started during exit

    @atexit.register
    def stop() -> None:
        """The shutdown of the SDK alone waits up to 30 seconds for a collector that does not answer."""
        ending.set()
        flushing.join(GRACE)
        if flushing.is_alive():
            exporter.shutdown()  # cancels the current call

    return True


def _without_header(record: logging.LogRecord) -> bool:
    """The SDK quotes what it cannot parse of OTEL_EXPORTER_OTLP_HEADERS."""
    record.args = ("[removed]",)
    return True


def traceparent() -> str:
    """The W3C traceparent of the current span, 55 characters; "" without a span."""
    return context_of(trace.get_current_span())


def context_of(span: Span) -> str:
    """The W3C traceparent of this span; "" if it is not valid."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get("traceparent", "")


def recording() -> bool:
    """Whether the current span is recorded."""
    return trace.get_current_span().is_recording()


def exemplar() -> dict[str, str] | None:
    """The exemplar of a Prometheus observation: the id of the current trace. None if it is not sampled."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.trace_flags.sampled else None


def start_span(name: str, parent: str = "", **about: object) -> Span:
    """Starts a span; the caller must end it, or it is not exported. Its parent is the traceparent `parent`, or the
    current span. `about`: ids by kind, as in `signal=pk`."""
    return _tracer.start_span(name, _context(parent), attributes=_ids(about))


def start_linked_span(name: str) -> Span:
    """Starts a span in a new trace, linked to the current span: for one of many signals in a request."""
    request = trace.get_current_span().get_span_context()
    return _tracer.start_span(name, Context(), kind=SpanKind.PRODUCER, links=[Link(request)])


@contextmanager
def within(span: Span, **about: object) -> Iterator[None]:
    """Makes this the current span, and adds the ids to every log record."""
    known = {name: str(value) for name, value in about.items() if value}
    with bound_contextvars(**known), trace.use_span(span, record_exception=False, set_status_on_exception=False):
        yield


@contextmanager
def continued(traceparent: str) -> Iterator[None]:
    """Makes the span of this traceparent the current one. No effect if it is empty."""
    context = _context(traceparent)
    if context is None:
        yield
        return
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


@contextmanager
def step(name: str, parent: str = "", **about: object) -> Iterator[Span]:
    """A span for one step of processing, with the ids on the span and on every log record."""
    span = start_span(name, parent, **about)
    with _ended(span), within(span, **about):
        yield span


@contextmanager
def call(name: str, attributes: Mapping[str, Any]) -> Iterator[Span]:
    """A client span for a call to another server. Not recorded outside of a trace, as for a watch or a probe."""
    if not recording():
        yield trace.INVALID_SPAN
        return
    span = _tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
    with _ended(span), within(span):
        yield span


@contextmanager
def _ended(span: Span) -> Iterator[None]:
    """Ends the span, with the class of the exception that was raised. Not its message, which may quote a payload."""
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
