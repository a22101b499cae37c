"""Whether the control loop works, and if not, why: what the probes of its process report."""

from orchestrator.k8s.cache import ClusterCache
from orchestrator.process import gauges
from orchestrator.reconciler.clock import Clock
from orchestrator.reconciler.steps import Steps

STALLED = 30.0  # seconds without a pass


class Readiness:
    """`began_at` and `ended_at` are of the last pass that began, and of the last one that succeeded, in seconds of the
    clock."""

    def __init__(self, clock: Clock, cache: ClusterCache, steps: Steps) -> None:
        self._clock, self._cache, self._steps = clock, cache, steps
        self.began_at = self.ended_at = clock.monotonic()

    def begin_pass(self) -> float:
        """Returns when it began."""
        self.began_at = self._clock.monotonic()
        return self.began_at

    def end_pass(self) -> None:
        """The database answers. The pass succeeded if none of its steps is failing."""
        now = self._clock.monotonic()
        self._steps.outage.end(now)
        if not self._steps.failing:
            self.ended_at = now
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
        elif outage := self._steps.outage.cause:
            problems.append(f"database unavailable: {outage} for {now - self._steps.outage.since:.0f} s")
        elif (failing := now - self.ended_at) >= STALLED:
            causes = [f"{step}: {one.cause}" for step, one in self._steps.failing.copy().items()]
            why = f" ({', '.join(causes)})" if causes else ""
            problems.append(f"no pass of the control loop has succeeded for {failing:.0f} s{why}")
        return problems + ([] if self._serves_any() else self._unsynced())

    def warnings(self) -> list[str]:
        """What does not work although it is ready, one line each: namespaces that cannot be read."""
        return self._unsynced() if self._serves_any() else []

    def _serves_any(self) -> bool:
        return bool(self._cache.readable) or not self._cache.namespaces

    def _unsynced(self) -> list[str]:
        return [f"cache not synced: {one}" for one in self._cache.unsynced()]
