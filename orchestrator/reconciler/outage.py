"""The time during which the control loop cannot use the database."""

import logging

from signals.lib.availability import describe

log = logging.getLogger(__name__)

REPEATED = 60.0  # seconds between two log records of one outage


class Outage:
    """Logs its beginning and its end, and once a minute that it lasts. Times are of the monotonic clock. `cause`: the
    class of the last error; empty while the database is available. Its message may name hosts and users."""

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
