"""Whether the control loop works, and if not, why: what the probes of its process report."""

from orchestrator.k8s.cache import ClusterCache
from orchestrator.process import gauges
from orchestrator.reconciler.clock import Clock
from orchestrator.reconciler.outage import Outage

STALLED = 30.0  # seconds without a pass


class Readiness:
    """`began_at` and `ended_at` are of the last pass that began, and of the last one that succeeded, in seconds of the
    clock."""

    def __init__(self, clock: Clock, cache: ClusterCache, outage: Outage) -> None:
        self._clock, self._cache, self._outage = clock, cache, outage
        self.began_at = self.ended_at = clock.monotonic()

    def begin_pass(self) -> float:
        """Returns when it began."""
        self.began_at = self._clock.monotonic()
        return self.began_at

    def end_pass(self) -> None:
        """It succeeded."""
        self.ended_at = self._clock.monotonic()
        self._outage.end(self.ended_at)
        gauges.LAST_PASS.set_to_current_time()

    @property
    def alive(self) -> bool:
        """Whether a pass has begun within the last `STALLED` seconds, successful or not."""
        return self._clock.monotonic() - self.began_at < STALLED

    def problems(self) -> list[str]:
        """Why it is not ready, one line each; empty if it is ready. It is ready with one namespace that it can read."""
        now, problems = self._clock.monotonic(), []
        if (silent := now - self.began_at) >= STALLED:
            problems.append(f"control loop stalled: no pass for {silent:.0f} s")
        elif cause := self._outage.cause:
            problems.append(f"database unavailable: {cause} for {now - self._outage.since:.0f} s")
        elif (failing := now - self.ended_at) >= STALLED:
            problems.append(f"no pass of the control loop has succeeded for {failing:.0f} s")
        return problems + ([] if self._serves_any() else self._unsynced())

    def warnings(self) -> list[str]:
        """What does not work although it is ready, one line each: namespaces that cannot be read."""
        return self._unsynced() if self._serves_any() else []

    def _serves_any(self) -> bool:
        return bool(self._cache.readable) or not self._cache.namespaces

    def _unsynced(self) -> list[str]:
        return [f"cache not synced: {one}" for one in self._cache.unsynced()]
