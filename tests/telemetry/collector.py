"""A receiver of OTLP over gRPC, as the protocol's own definitions describe it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Event
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest as Request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse as Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.kit.patience import PATIENCE


@dataclass(frozen=True)
class Told:
    """A span as it arrived. Ids are hexadecimal; `parent` is "" for the first of its trace."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    failed: bool
    resource: dict[str, Any]

    @property
    def role(self) -> str:
        return str(self.resource["smartops.role"])


class Collector(TraceServiceServicer):
    """`address` is where it listens."""

    def __init__(self) -> None:
        self.spans: list[Told] = []
        self.address = ""
        self._news = Condition()
        self._free = Event()
        self._free.set()

    def Export(self, request: Request, context: grpc.ServicerContext) -> Response:  # noqa: N802 - gRPC's signature
        self._free.wait(PATIENCE)
        with self._news:
            for resource in request.resource_spans:
                about = _plain(resource.resource.attributes)
                self.spans += [_told(span, about) for scope in resource.scope_spans for span in scope.spans]
            self._news.notify_all()
        return Response()

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Takes what is sent, and does not answer."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def until(self, holds: Callable[[list[Told]], bool]) -> list[Told]:
        """All spans, as soon as they are as they should be."""
        with self._news:
            assert self._news.wait_for(lambda: holds(self.spans), PATIENCE), [one.name for one in self.spans]
            return list(self.spans)


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _told(span: Span, resource: dict[str, Any]) -> Told:
    return Told(
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=_plain(span.attributes),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        resource=resource,
    )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}
