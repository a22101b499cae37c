"""How often something may be done: a token bucket. Pure but for the clock that it is given."""

from collections.abc import Callable


class TokenBucket:
    """`rate` tokens a second, at most `burst` of them saved up; it begins full. `clock` counts seconds."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = float(burst), clock()

    def wait(self) -> float:
        """Seconds until there is a token; 0: there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self) -> None:
        self._tokens -= 1.0
