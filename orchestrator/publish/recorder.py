"""Writes Events beside the loop, which never waits for them."""

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread

from orchestrator.k8s import errors, metrics
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.events import KubernetesEvent

log = logging.getLogger(__name__)

CAPACITY = 1000  # notes that wait
REMEMBERED = 10_000  # names of notes that were told
COMPLAIN_EVERY = 60.0  # seconds


class Recorder:
    """Writes notes as Events, on a thread of its own. Best effort: `tell` never waits, each note is sent once at most,
    and what cannot be written is counted and forgotten."""

    def __init__(self, cluster: Cluster, capacity: int = CAPACITY) -> None:
        self._cluster = cluster
        self._notes: Queue[tuple[KubernetesEvent, datetime] | None] = Queue(capacity)
        self._told: dict[str, None] = {}
        self._thread = Thread(target=self._write, name="events", daemon=True)
        self._complain_at = 0.0

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Waits up to `grace` seconds for what is still to be written."""
        with suppress(Full):
            self._notes.put(None, timeout=grace)
            self._thread.join(grace)

    def tell(self, note: KubernetesEvent | None) -> None:
        """From any thread."""
        if note is None:
            return
        try:
            self._notes.put_nowait((note, datetime.now(UTC)))
        except Full:
            self._drop("too many wait to be written")

    def _write(self) -> None:
        while (item := self._notes.get()) is not None:
            note, at = item
            if note.name in self._told:
                continue
            try:
                self._cluster.create_event(note, at)
            except errors.Conflict:
                pass  # told before, by another process or an earlier one
            except errors.ClusterError as error:
                self._drop(error.message)
                continue
            self._told[note.name] = None
            if len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]

    def _drop(self, why: str) -> None:
        metrics.EVENTS_DROPPED.inc()
        if (now := time.monotonic()) >= self._complain_at:
            self._complain_at = now + COMPLAIN_EVERY
            log.warning("an Event was not written, and others may follow: %s", why)
