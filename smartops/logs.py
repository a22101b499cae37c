"""The formatter of all log lines: those of Django, daphne and SmartOps have the same fields."""

import logging
import re
import sys

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from signals.lib.availability import describe, is_repeatable
from signals.lib.redaction import redacted

# The extra attributes of a record that are logged. Libraries attach others, such as a request, or SQL with its
# parameters, which must not appear in a log.
LOGGED = (
    "signal", "action", "target", "from", "to", "reason", "actor", "status_code", "peer", "path", "count",
)  # fmt: skip


def formatter(style: str) -> logging.Formatter:
    """`style` is `json` or `console`; the latter is for people, with colour on a terminal."""
    rendered: list[Processor] = [
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    if style == "console":
        plain = structlog.dev.plain_traceback  # the default prints local variables, which may be secrets
        rendered = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(LOGGED),
            structlog.contextvars.merge_contextvars,
            _add_trace,
            structlog.processors.format_exc_info,
            _without_rows,
            _without_secrets,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
    )


class WithoutTraceback(logging.Filter):
    """An unavailable database is no defect: a record of its error has one line, from every logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and is_repeatable(error):
            record.msg, record.args = "%s: %s", (record.getMessage(), describe(error))
            record.exc_info = record.exc_text = None
        return True


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Messages and tracebacks of libraries quote the URLs that they were given."""
    for name in ("event", "exception", "stack_info"):
        if isinstance(event.get(name), str):
            event[name] = redacted(event[name])
    return event


def _without_rows(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove the DETAIL lines, in which PostgreSQL quotes the refused row with its payload."""
    if "exception" in event:
        event["exception"] = re.sub(r"^DETAIL:.*\n?", "", event["exception"], flags=re.MULTILINE)
    return event
