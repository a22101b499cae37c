"""The steps of a pass: an error of the database in one of them leaves the others to their work."""

import logging
from collections.abc import Callable
from typing import Any

from django.db import Error, connection

from orchestrator import metrics
from orchestrator.reconciler.clock import Clock
from orchestrator.reconciler.outage import Outage
from signals.lib.availability import describe, is_repeatable, is_unavailable, loses_session

log = logging.getLogger(__name__)
Step = Callable[..., Any]


class Steps:
    """Runs steps. A later pass repeats a step that failed. `outage` lasts while the database refuses every session."""

    def __init__(self, clock: Clock) -> None:
        self.outage = Outage()
        self._clock = clock

    def attempt(self, step: Step, *arguments: Any) -> Any:
        """The result of the step, None if it failed. A failure is logged; an unavailable database is logged once."""
        try:
            return self.run(step, *arguments)
        except Error as error:
            metrics.FAILED_STEPS.inc()
            self.outage.begin(error, self._clock.monotonic())
        connection.close()  # it may be broken, or in a transaction that failed
        return None

    def run(self, step: Step, *arguments: Any) -> Any:
        """As `attempt` does, but raises the error if the database refuses every session: no other step can succeed."""
        try:
            return step(*arguments)
        except Exception as error:
            if is_unavailable(error) and not loses_session(error):
                raise
            metrics.FAILED_STEPS.inc()
            if is_repeatable(error):
                log.warning("control loop: %s; due rows are tried again: %s", _name(step), describe(error))
            else:
                log.exception("control loop: error in %s; due rows are tried again", _name(step))
        connection.close()
        return None


class Periodic:
    """What is due every `seconds`, the first time at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def is_due(self, now: float) -> bool:
        """`now`: monotonic seconds. True once for each time."""
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _name(step: Step) -> str:
    return getattr(step, "__name__", str(step))
