"""The transitions of a signal: one constructor for each, and the one statement that stores them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from signals import queries
from signals.holds import Hold
from signals.lib.partitions import generic_plan
from signals.lib.transition_log import log_transition
from signals.models import Signal, SignalState
from signals.reasons import Reason

# Deferrals for which SmartOps itself is the cause: they do not make a signal older.
KEPT_WAITING = (
    Reason.NAMESPACE_UNREADABLE,
    Reason.AUTOSCALERS_UNKNOWN,
    Reason.POLICY_UNAVAILABLE,
    Reason.PROCESSING_ERROR,
)


@dataclass(frozen=True, slots=True)
class Transition:
    """`until` or `delay` (in seconds) say when a deferred signal is due again."""

    signal: Signal
    to: SignalState
    reason: str = ""
    message: str = ""
    until: datetime | None = None
    delay: float | None = None
    errors: int | None = None
    holds: Hold | None = None


def admit(signal: Signal) -> Transition:
    """It has led to an action, and closes with it."""
    return Transition(signal, SignalState.ADMITTED)


def deny(signal: Signal, reason: str, message: str, holds: Hold | None = None) -> Transition:
    """`holds`: for which further reports. They are counted on the signal."""
    return Transition(signal, SignalState.DENIED, reason, message, holds=holds)


def ignore(signal: Signal, reason: str, message: str, holds: Hold | None = None) -> Transition:
    return Transition(signal, SignalState.IGNORED, reason, message, holds=holds)


def fail(signal: Signal, reason: str, message: str) -> Transition:
    return Transition(signal, SignalState.FAILED, reason, message)


def defer(signal: Signal, reason: str, message: str, until: datetime, holds: Hold | None = None) -> Transition:
    """It stays pending, and is due again at `until`, or with the first report that `holds` does not include."""
    return Transition(signal, SignalState.PENDING, reason, message, until=until, holds=holds)


def retry(signal: Signal, reason: str, message: str, delay: float) -> Transition:
    """It stays pending after an error, and is due again in `delay` seconds."""
    return Transition(signal, SignalState.PENDING, reason, message, delay=delay, errors=signal.errors + 1)


def store(transitions: Sequence[Transition]) -> list[Transition]:
    """Stores the transitions of those signals that are still pending, and returns them. Another process has moved the
    others."""
    if not transitions:
        return []
    rows = json.dumps([_row(one) for one in transitions])
    with generic_plan(), connection.cursor() as cursor:
        cursor.execute(queries.MOVE, {"rows": rows, "first": min(one.signal.pk for one in transitions)})
        moved = {pk for (pk,) in cursor.fetchall()}
    stored = [one for one in transitions if one.signal.pk in moved]
    for one in stored:
        signal = one.signal
        log_transition("signal", signal.pk, signal.state, one.to, traceparent=signal.traceparent, reason=one.reason)
        one.signal.state = one.to
    return stored


def _row(one: Transition) -> dict[str, Any]:
    return {
        "id": str(one.signal.pk),
        "state": one.to,
        "reason": one.reason,
        "message": one.message,
        "errors": one.signal.errors if one.errors is None else one.errors,
        "until": one.until and one.until.isoformat(),
        "delay": one.delay,
        "kept": one.reason in KEPT_WAITING,
        "holds": one.holds,
        "closed": one.to in (SignalState.DENIED, SignalState.IGNORED, SignalState.FAILED),
    }
