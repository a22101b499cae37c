"""The steps of a pass: an error in one of them leaves the others to their work."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import Error, connection

from orchestrator import metrics
from orchestrator.reconciler.clock import Clock
from signals.lib.availability import describe, is_repeatable, is_unavailable, loses_session

log = logging.getLogger(__name__)
T = TypeVar("T")

REPEATED = 60.0  # seconds between two log records of one outage
MAX_DELAY = 10.0  # seconds; a third of the lease that answers have to be recorded in


class Outage:
    """The time during which the database refuses every session. Logs its beginning and its end, and once a minute that
    it lasts. Times are of the monotonic clock. `cause`: the class of the last error; empty while the database is
    available. Its message may name hosts and users."""

    def __init__(self) -> None:
        self.cause = ""
        self.since = self._logged_at = 0.0

    def begin(self, error: Exception, now: float) -> None:
        """Also while it lasts."""
        if not self.cause:
            self.since = now
        if not self.cause or now - self._logged_at >= REPEATED:
            self._logged_at = now
            text = "control loop: the database is unavailable; due rows are tried again every second: %s"
            log.warning(text, describe(error))
        self.cause = type(error.__cause__ or error).__name__

    def end(self, now: float) -> None:
        if self.cause:
            self.cause = ""
            log.warning("control loop: the database is available again, after %.0f s", now - self.since)


@dataclass(slots=True)
class Failure:
    """Of a step, until it succeeds. `since`: monotonic seconds. `cause`: the class of the last error."""

    since: float
    cause: str = ""
    times: int = 0


class Steps:
    """Runs steps, each under the qualified name of its function. One that has failed is repeated in the next pass, and
    then after 1, 2, 4 and at most MAX_DELAY seconds. `outage` lasts while the database refuses every session."""

    def __init__(self, clock: Clock) -> None:
        self.outage = Outage()
        self.failing: dict[str, Failure] = {}
        self._clock = clock
        self._next: dict[str, float] = {}  # when it may run again, in monotonic seconds

    def run(self, step: Callable[..., T], *arguments: Any, every: float = 0.0, otherwise: Any = None) -> T | Any:
        """The result of the step; `otherwise` if it failed, if it waits after a failure, or if it succeeded in the last
        `every` seconds. A failure is logged and counted. Raises the error if the database refuses every session: no
        other step can succeed."""
        name, now = _name(step), self._clock.monotonic()
        if now < self._next.get(name, now):
            return otherwise
        try:
            result = step(*arguments)
        except Exception as error:
            if is_unavailable(error) and not loses_session(error):
                raise
            self._fail(name, error, now)
        else:
            self._next[name] = now + every
            self.failing.pop(name, None)
            return result
        connection.close()  # it may be broken, or in a transaction that failed
        return otherwise

    def attempt(self, step: Callable[..., T], *arguments: Any, otherwise: Any = None) -> T | Any:
        """The same, but raises nothing: an unavailable database is logged once."""
        try:
            return self.run(step, *arguments, otherwise=otherwise)
        except Error as error:
            metrics.FAILED_STEPS.inc()
            self.outage.begin(error, self._clock.monotonic())
        connection.close()
        return otherwise

    def waits(self, step: Callable[..., Any]) -> bool:
        """Whether it would not run now."""
        return self._clock.monotonic() < self._next.get(_name(step), 0.0)

    def fails(self, step: Callable[..., Any]) -> bool:
        """Whether its last run failed."""
        return _name(step) in self.failing

    def _fail(self, name: str, error: Exception, now: float) -> None:
        failure = self.failing.setdefault(name, Failure(now))
        delay = min(MAX_DELAY, 2.0 ** min(failure.times - 1, 10)) if failure.times else 0.0
        when = f"in {delay:.0f} s" if delay else "in the next pass"
        failure.times, failure.cause, self._next[name] = failure.times + 1, type(error).__name__, now + delay
        metrics.FAILED_STEPS.inc()
        if is_repeatable(error):
            log.warning("control loop: step %s failed; it is repeated %s: %s", name, when, describe(error))
        else:
            log.error("control loop: step %s failed; it is repeated %s", name, when, exc_info=error)


def _name(step: Callable[..., Any]) -> str:
    """`Snapshot.store`; a step of the reconciler itself is named without its class: `admit`."""
    return str(getattr(step, "__qualname__", step)).removeprefix("Reconciler.").lstrip("_")
