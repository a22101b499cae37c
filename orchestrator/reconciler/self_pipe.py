"""What ends the wait of the control loop: threads of the cache and of the pool, and signal handlers."""

import os
from contextlib import suppress
from threading import Lock
from weakref import finalize

from orchestrator.k8s.types import WorkloadKey
from signals.lib.notifications import wait_readable


class SelfPipe:
    """So that the loop can wait for it together with the notifications of the database."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe()
        for end in (self.fd, self._writer):
            os.set_blocking(end, False)
            finalize(self, os.close, end)

    def set(self) -> None:
        """From any thread. Safe in a signal handler."""
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._writer, b"!")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.fd, 65536)

    def wait(self, seconds: float) -> None:
        wait_readable([self.fd], seconds)


class Stop:
    """Set once, for ever. A signal handler may set it: it takes no lock, which the interrupted code could hold."""

    def __init__(self) -> None:
        self._pipe, self._is_set = SelfPipe(), False

    def set(self) -> None:
        self._is_set = True
        self._pipe.set()

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> None:
        """Until it is set, or for so long."""
        self._pipe.wait(seconds)


class ReportedKeys:
    """The workloads that threads of the cache report, until the control loop takes them."""

    def __init__(self) -> None:
        self._keys: set[WorkloadKey] = set()
        self._lock = Lock()

    def add(self, *keys: WorkloadKey) -> None:
        with self._lock:
            self._keys.update(keys)

    def take(self) -> set[WorkloadKey]:
        with self._lock:
            taken, self._keys = self._keys, set()
        return taken
