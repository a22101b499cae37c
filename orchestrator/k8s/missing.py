"""The workloads that the API server has called missing, for some seconds: signals of a workload that does not exist
come by the thousand."""

from collections.abc import Callable
from itertools import islice
from threading import Lock

from orchestrator.k8s.types import WorkloadKey

KEPT = 10.0  # seconds
MAX_KEPT = 10_000


class Missing:
    """Bounded: of more than MAX_KEPT workloads, the last ones are kept. `monotonic` is in seconds. Safe between
    threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[WorkloadKey, float] = {}  # oldest first
        self._lock = Lock()

    def add(self, key: WorkloadKey) -> None:
        with self._lock:
            self._until.pop(key, None)
            self._until[key] = self._monotonic() + KEPT
            for oldest in list(islice(self._until, 2)):  # as many as are added, and one more
                if len(self._until) > MAX_KEPT or oldest not in self:
                    del self._until[oldest]

    def discard(self, key: WorkloadKey) -> None:
        with self._lock:
            self._until.pop(key, None)

    def __contains__(self, key: WorkloadKey) -> bool:
        return self._monotonic() < self._until.get(key, 0.0)

    def __len__(self) -> int:
        return len(self._until)
