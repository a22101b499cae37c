"""What ends the watches of a thread or of a whole cache, also one that is blocked in a read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Interruption(Event):
    """Set once, for ever. Not for signal handlers: it takes a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.interrupts: set[Callable[[], None]] = set()
        self._lock = Lock()

    def set(self) -> None:
        super().set()
        with self._lock:
            for interrupt in self.interrupts:
                interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """`interrupt` is called when it is set within the block, or was before: perhaps twice, and in any thread. It
        must be quick and raise nothing."""
        with self._lock:
            self.interrupts.add(interrupt)
        try:
            if self.is_set():
                interrupt()
            yield
        finally:
            with self._lock:
                self.interrupts.discard(interrupt)
