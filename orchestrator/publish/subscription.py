"""One publisher's way through the timeline: lease, read, deliver, move the cursor. Nothing here waits: each turn does
what can be done now, and says when the next one is due. A turn uses the database outside of transactions only, and
never while the publisher makes its request."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import uniform

from django.db import DatabaseError, InterfaceError
from prometheus_client import Gauge

from orchestrator.metrics import FAILED_STEPS
from orchestrator.publish import timeline
from orchestrator.publish.cursor import Cursor, query
from orchestrator.publish.pace import TokenBucket
from orchestrator.publish.types import Dropped, Entry, Ignored, Outcome, Published, Publisher, Retry

log = logging.getLogger(__name__)

LAG = Gauge(
    "smartops_publisher_lag_seconds",
    "Age of the oldest entry of the timeline that the publisher has not read; 0: there is none.",
    ["publisher"],
)
# Seconds.
PAUSE = 0.5  # between reads: each takes a few queries, and during a storm each brings many entries
TAKEOVER = 5.0  # between attempts at a lease that another process holds
MAX_DELAY = 60.0
WARN_EVERY = 60.0


class Subscription:
    """Used by one thread. `process` names this process among those that share the cursor."""

    def __init__(
        self,
        cluster: str,
        publisher: Publisher,
        process: str,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: uniform(0.5, 1.0),  # noqa: S311 - no secret
    ) -> None:
        self._cluster, self._publisher = cluster, publisher
        self._clock, self._jitter = clock, jitter
        self._cursor = Cursor(cluster, publisher.name, process, clock)
        self._bucket = TokenBucket(publisher.terms.rate, publisher.terms.burst, clock)
        self._entries: deque[tuple[int, Entry]] = deque()  # of the page that is being delivered
        self._page = timeline.Page((), None, None, datetime.min)  # the last one that was read
        self._read_at = self._retry_at = self._warn_at = self._failing_since = 0.0
        self._published = 0  # the last transaction that was delivered completely
        self._attempts = self._skipped = 0

    @property
    def up_to_date(self) -> bool:
        """Nothing is left of what the last read has found, or it is another process's task."""
        return self._cursor.xid is None or not (self._entries or self._page.more or self._page.held_back)

    def begin(self) -> None:
        """What is recorded after this is published, also if the publisher is new."""
        self._cursor.begin()

    def turn(self) -> float:
        """Delivers what it may; the seconds until another turn is of use. An error ends the turn, never the thread."""
        try:
            return self._turn()
        except (DatabaseError, InterfaceError) as error:
            self._warn("the database failed: %s", error)
        except Exception as error:  # noqa: BLE001 - the next turn tries again
            FAILED_STEPS.inc()
            self._warn(f"failed; it tries again in {TAKEOVER:.0f} s: %r", error, exc_info=True)
        finally:
            LAG.labels(self._publisher.name).set(self._lag())
        return TAKEOVER

    def end(self) -> None:
        """Stores what was delivered, and leaves the rest to another process."""
        try:
            if self._cursor.xid is not None and self._cursor.move(self._published):
                self._cursor.release()
        except (DatabaseError, InterfaceError) as error:  # the lease ends by itself
            self._warn("the database failed: %s", error)
        LAG.labels(self._publisher.name).set(0.0)

    def _turn(self) -> float:
        if not self._hold():
            return TAKEOVER
        if self._entries:
            self._page = replace(self._page, more=True)  # others may have been recorded since it was read
        else:
            self._read()
        pause = self._deliver()
        if self._entries:
            return max(0.0, min(pause, self._cursor.renew_at - self._clock()))
        self._published = self._page.xid or self._published
        if self._published != self._cursor.xid and not self._cursor.move(self._published):
            return TAKEOVER
        self._report_skipped()
        return 0.0 if self._page.more else PAUSE

    def _hold(self) -> bool:
        """Whether this process has the lease, which it renews in time."""
        if self._cursor.xid is not None:
            if self._clock() < self._cursor.renew_at or self._cursor.move(self._published):
                return True
        elif self._cursor.take():
            self._published, self._attempts = self._cursor.xid or 0, 0
            return True
        self._entries.clear()  # they are another process's now
        return False

    def _read(self) -> None:
        self._page = query(lambda: timeline.read(self._cluster, self._published))
        self._read_at = self._clock()
        if self._page.restored:
            log.warning(
                "publisher %s: the cursor is ahead of the database, which was restored from a dump; "
                "entries of the last %.0f s are published again",
                self._publisher.name,
                self._publisher.terms.max_age,
            )
            self._published = 0
        self._entries.extend(self._page.entries)
        for message in self._page.unreadable:
            self._drop(message)

    def _deliver(self) -> float:
        """Until the page ends, the lease must be renewed, or a wait is due: the seconds of that."""
        while self._entries and self._clock() < self._cursor.renew_at:
            xid, entry = self._entries[0]
            if (early := self._retry_at - self._clock()) > 0:
                return early
            if self._age(entry.at) > self._publisher.terms.max_age:
                self._skipped += 1
            elif wait := self._bucket.wait() or self._send(entry):
                return wait
            self._entries.popleft()
            self._attempts = 0
            if self._entries and self._entries[0][0] != xid:
                self._published = xid
        return 0.0

    def _send(self, entry: Entry) -> float:
        """0: the entry is done with; otherwise the seconds until it is to be tried again."""
        outcome = self._publish(entry)
        if not isinstance(outcome, Ignored):
            self._bucket.take()
        match outcome:
            case Dropped(message):
                self._drop(message)
            case Retry(message, after):
                if not self._attempts:
                    self._failing_since = self._clock()
                if self._clock() - self._failing_since < self._publisher.terms.retry_for:
                    self._attempts += 1
                    self._warn("an entry could not be sent and is tried again: %s", message)
                    delay = max(0.25 * 2 ** min(self._attempts, 10) * self._jitter(), after or 0.0)
                    self._retry_at = self._clock() + min(delay, MAX_DELAY)
                    return self._retry_at - self._clock()
                self._drop(message)
            case Published() | Ignored():
                pass
        return 0.0

    def _publish(self, entry: Entry) -> Outcome:
        try:
            return self._publisher.publish(entry)
        except Exception as error:  # noqa: BLE001 - a row that it cannot handle must not block all that follow
            self._warn("an entry raised %r", error, exc_info=True)
            return Dropped(f"{type(error).__name__}: {error}")

    def _drop(self, message: str) -> None:
        self._publisher.dropped.inc()
        self._warn("an entry was dropped: %s", message)

    def _warn(self, text: str, detail: object, exc_info: bool = False) -> None:
        if (now := self._clock()) >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            message = f"publisher %s: {text} (logged once a minute)"
            log.warning(message, self._publisher.name, detail, exc_info=exc_info)

    def _report_skipped(self) -> None:
        if self._skipped and not self._page.more:
            age = self._publisher.terms.max_age
            log.warning("publisher %s skipped %d entries older than %.0f s", self._publisher.name, self._skipped, age)
            self._skipped = 0

    def _age(self, at: datetime) -> float:
        """By the database's clock."""
        return (self._page.now - at).total_seconds() + self._clock() - self._read_at

    def _lag(self) -> float:
        if self._cursor.xid is None:
            return 0.0
        if self._entries:
            return max(0.0, self._age(self._entries[0][1].at))
        unreadable = self._page.xid is None and self._page.oldest
        return max(0.0, self._age(unreadable)) if unreadable else 0.0
