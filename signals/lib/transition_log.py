"""One log record per transition, written after its commit: ids, states and reasons, but no data of detectors."""

import logging
from functools import partial

from django.db import transaction

from signals.lib import tracing

log = logging.getLogger(__name__)


def log_transition(kind: str, pk: object, old: str, new: str, *, traceparent: str = "", **fields: object) -> None:
    """`kind` is "signal" or "action"; `old` is "" for a new row. The record has the trace of `traceparent`, or the
    current one. Empty `fields` are left out."""
    if log.isEnabledFor(logging.INFO):
        given = {kind: pk, "from": old, "to": new} | fields
        extra = {name: str(value) for name, value in given.items() if value}
        transaction.on_commit(partial(_log, traceparent, kind, old or "new", new, extra), robust=True)


def _log(traceparent: str, kind: str, old: str, new: str, extra: dict[str, str]) -> None:
    with tracing.continued(traceparent):
        log.info("%s %s → %s", kind, old, new, extra=extra)
