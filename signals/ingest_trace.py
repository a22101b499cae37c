"""The trace context of each signal that one request opens, and the log of the signals that it opened or resolved."""

import logging
from collections.abc import Iterable
from typing import Protocol

from opentelemetry.trace import Span, get_current_span

from signals.lib import tracing
from signals.lib.transition_log import log_transition

log = logging.getLogger(__name__)


class Stored(Protocol):
    """What this module needs of a receipt."""

    @property
    def signal_id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def duplicate(self) -> bool: ...
    @property
    def late(self) -> bool: ...


class IngestTrace:
    """A single signal continues the trace of its request. One of `many` has a trace of its own, linked to that of the
    request."""

    def __init__(self, many: bool) -> None:
        self._here = tracing.traceparent()
        self._apart = many and tracing.recording()
        self._begun: dict[str, Span | None] = {}

    def traceparent(self, signal_id: str) -> str:
        """The traceparent to store with the signal, if the observation opens one with this id."""
        span = self._begun[signal_id] = tracing.start_linked_span("signal") if self._apart else None
        return self._here if span is None else tracing.context_of(span)

    def finish(self, receipts: Iterable[Stored]) -> None:
        """Ends the spans of the signals that were opened, and logs which were opened (several of them in one record)
        and which were resolved. Repeats, late beginnings and healthy windows change no state."""
        opened = []
        changed = {
            (one.signal_id, one.state): None for one in receipts if one.signal_id and not (one.duplicate or one.late)
        }
        for pk, state in changed:
            if state == "pending" and pk in self._begun:
                opened.append((pk, self._begun.pop(pk)))
            elif state == "resolved" and pk not in self._begun:
                log_transition("signal", pk, "pending", "resolved")
        for pk, span in opened:
            opening = get_current_span() if span is None else span
            opening.set_attribute("smartops.signal.id", pk)
            if span is not None:
                span.end()
        if len(opened) == 1:
            log_transition("signal", opened[0][0], "", "pending")
        elif opened:
            log.info("%d signals new → pending", len(opened))
