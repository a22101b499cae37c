"""The keys to reconcile; each key is queued at most once."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeAlias, TypeVar

Key: TypeAlias = tuple[str, str]  # namespace, name
K = TypeVar("K", bound=Hashable)

AT_ONCE = 50  # keys between two turns of the loop, so that requests are answered in between


class WorkQueue(Generic[K]):
    def __init__(self, reconcile: Callable[[K], None]) -> None:
        self._reconcile = reconcile
        self._loop = asyncio.get_running_loop()
        self._due: dict[K, None] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._running = False

    def add(self, key: K) -> None:
        self._due[key] = None
        if not self._running:
            self._running = True
            self._loop.call_soon(self._run)

    def add_after(self, key: K, seconds: float) -> None:
        """A key has one timer: the earliest requested. A controller that runs too early requests another."""
        when = self._loop.time() + seconds
        timer = self._timers.get(key)
        if timer is None or when < timer.when():
            if timer is not None:
                timer.cancel()
            self._timers[key] = self._loop.call_at(when, self._ring, key)

    def _ring(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _run(self) -> None:
        try:
            for _ in range(min(AT_ONCE, len(self._due))):
                key = next(iter(self._due))
                del self._due[key]
                self._reconcile(key)
        finally:
            self._running = bool(self._due)
            if self._running:
                self._loop.call_soon(self._run)
