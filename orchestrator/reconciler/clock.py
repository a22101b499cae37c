"""Time and randomness, which are given to the loop. Rows are timed by the clock of the database; this clock says how
long the process itself has waited."""

import time
from random import uniform
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds since some moment; never runs backwards."""

    def jitter(self) -> float:
        """A random factor from 0.5 to 1.0, so that retries of many actions do not come at the same moment."""


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def jitter(self) -> float:
        return uniform(0.5, 1.0)  # noqa: S311 - it spreads the load and keeps no secret
