"""The reconciler: rescue, admit, execute, verify, again and again, until told to stop."""

import logging
import os
import socket
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Lock
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from orchestrator import metrics
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState
from orchestrator.process import gauges
from orchestrator.publish.events import after_execution
from orchestrator.publish.recorder import Recorder
from orchestrator.reconciler.admit import admit, due, record_failure
from orchestrator.reconciler.execute import execute
from orchestrator.reconciler.reclaim import cancel_resolved, expire, rescue
from orchestrator.reconciler.verify import Verifications
from signals.lib import tracing
from signals.lib.notifications import listen

log = logging.getLogger(__name__)

POLL = 1.0  # seconds: the guarantee behind all notifications, and the grain of deferrals
STALLED = 30.0  # seconds without a pass
MEASURE = 10.0  # seconds between looks at how much waits
Notes = list[tuple[str, str]]


class Reconciler:
    """One of any number of equal processes for one cluster. Steps run on `workers` threads; which step is due is
    decided on the thread that calls `run`."""

    def __init__(self, cluster: Cluster, cluster_name: str, namespaces: Iterable[str], workers: int = 8) -> None:
        self.actor = f"reconciler {socket.gethostname()}/{os.getpid()}"
        self.cluster, self.cluster_name, self.workers = cluster, cluster_name, workers
        self.view = ClusterCache(cluster, namespaces, self._changed)
        self.recorder = Recorder(cluster)
        self.verifications = Verifications(cluster_name, cluster, self.view, self.recorder.tell, self.actor)
        self._turned_at = self._passed_at = time.monotonic()
        self._stop = Event()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
        self._under_way: set[Hashable] = set()
        self._again: dict[Hashable, tuple[Callable[..., None], tuple[Any, ...]]] = {}
        self._held: set[UUID] = set()  # the actions that this process has claimed and is not done with
        self._changed_keys: set[WorkloadKey] = set()
        self._lock = Lock()
        self._next_sweep = self._next_measure = 0.0
        self._signals_due = self._actions_due = True

    def run(self, *, drain: bool = False) -> None:
        """Until `stop`; with `drain`, until nothing is due, under way or being verified."""
        self.view.start()
        self.recorder.start()
        try:
            for notes in listen(self._stop, timeout=self._patience, wake_fd=self._wake_reader):
                with suppress(BlockingIOError):
                    os.read(self._wake_reader, 65536)
                found = self._attempt(self._pass, notes)
                if found is None:
                    self._stop.wait(POLL)  # it ended half-way, and what is due stays due: not again at full speed
                if drain and found == 0 and self._attempt(self._idle):
                    break
        finally:
            self._pool.shutdown(wait=True)
            self.recorder.stop()
            self.view.stop()
            connection.close()

    def stop(self) -> None:
        """What is under way ends; nothing new begins. Safe in a signal handler."""
        self._stop.set()
        self._wake()

    @property
    def alive(self) -> bool:
        """Whether a pass has begun within the last `STALLED` seconds, successful or not."""
        return time.monotonic() - self._turned_at < STALLED

    def problems(self) -> list[str]:
        """Why it is not ready, one line each; empty if it is ready."""
        now, problems = time.monotonic(), []
        if (silent := now - self._turned_at) >= STALLED:
            problems.append(f"control loop stalled: no pass for {silent:.0f} s")
        elif (failing := now - self._passed_at) >= STALLED:
            problems.append(f"database unavailable: no pass of the control loop has succeeded for {failing:.0f} s")
        return problems + [f"cache not synced: {one}" for one in self.view.unsynced()]

    def _idle(self) -> bool:
        """Nothing is due, under way or being verified. Looks at the tables: a notification may still be on its way."""
        if self._under_way or not self.view.has_synced:
            return False
        self._signals_due = self._actions_due = True
        self._rescue()  # no sweep may have come since the cluster is known
        self.verifications.load()
        return self._admit() + self._execute() + len(self._under_way) + len(self.verifications) == 0

    def _pass(self, notes: Notes) -> int:
        """One round of the four verbs; the number of steps that were due."""
        self._turned_at = time.monotonic()
        if sweep := self._turned_at >= self._next_sweep:
            self._next_sweep = self._turned_at + POLL
            self._rescue()
        told = {model for model, _ in notes}
        self._signals_due |= sweep or "signal" in told
        self._actions_due |= sweep or "action" in told
        if sweep:
            self.verifications.load()
        found = self._admit() + self._execute() + self._verify()
        self._passed_at = time.monotonic()
        gauges.LAST_PASS.set_to_current_time()
        return found

    def _rescue(self) -> None:
        """What one of them meets must not keep the others, or the other verbs, from their work."""
        if self.view.has_synced:  # who takes over goes on to act
            self._hold(self._attempt(rescue, self.cluster_name, self.actor, frozenset(self._held)) or ())
        self._attempt(expire, self.actor)
        self._attempt(cancel_resolved, self.cluster_name, self.actor)
        if self._turned_at >= self._next_measure:
            self._next_measure = self._turned_at + MEASURE
            self._attempt(gauges.measure, self.cluster_name)

    def _admit(self) -> int:
        room = self._room()
        if not (self._signals_due and room and self.view.has_synced):
            return 0
        # What is under way is still pending in the table, and comes first.
        waiting = due(self.cluster_name, room + len(self._under_way))
        found = [pk for pk in waiting if ("admit", pk) not in self._under_way][:room]
        self._signals_due = len(found) == room
        for signal_id in found:
            self._submit(("admit", signal_id), self._admit_one, signal_id)
        return len(found)

    def _admit_one(self, signal_id: UUID) -> None:
        try:
            action, note = admit(signal_id, self.view.observe_live, self.actor)
        except (OperationalError, InterfaceError):
            raise  # the database went away: nobody's fault, and the signal stays due
        except Exception as error:
            metrics.FAILED_STEPS.inc()
            log.exception("signal %s could not be processed", signal_id)
            record_failure(signal_id, error)
        else:
            self.recorder.tell(note)
            if action is not None:
                self._execute_one(action)

    def _execute_one(self, action: Action) -> None:
        self._held.add(action.pk)
        try:
            with tracing.step("execute", action.traceparent, signal=action.signal_id, action=action.pk):
                execute(action, self.cluster, self.view.observe, self.actor)
            if action.state == ActionState.VERIFYING:
                self.verifications.watch(action, action.deadline_at - action.updated_at)
            self.recorder.tell(after_execution(action, self.view.get(action.workload.key)))
        finally:
            self._held.discard(action.pk)

    def _hold(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._held.add(action.pk)
            self._submit(("execute", action.pk), self._execute_one, action)

    def _execute(self) -> int:
        room = self._room()
        if not (self._actions_due and room and self.view.has_synced):
            return 0  # before the autoscalers are listed, every workload looks as if it had none
        claimed = Action.claim_due(self.cluster_name, room, self.actor)
        self._actions_due = len(claimed) == room
        self._hold(claimed)
        return len(claimed)

    def _verify(self) -> int:
        if not self.view.has_synced:
            return 0  # what has not been listed yet looks as if it were gone
        with self._lock:
            changed, self._changed_keys = self._changed_keys, set()
        found = self.verifications.due(changed)
        for action_id in found:
            self._submit(("verify", action_id), self.verifications.look, action_id)
        return len(found)

    def _room(self) -> int:
        """How many more steps to take on: enough to keep every worker busy, few enough to leave work to others."""
        return max(0, 2 * self.workers - len(self._under_way))

    def _submit(self, name: Hashable, step: Callable[..., None], *arguments: Any) -> None:
        """One step of a name at a time. Asked for meanwhile, it runs once more: what it looked at may be old."""
        with self._lock:
            if name in self._under_way:
                self._again[name] = (step, arguments)
                return
            self._under_way.add(name)

        def done(_: Future[Any]) -> None:
            with self._lock:
                self._under_way.discard(name)
                again = self._again.pop(name, None)
            if again is not None and not self._stop.is_set():
                self._submit(name, again[0], *again[1])
            self._wake()

        self._pool.submit(self._attempt, step, *arguments).add_done_callback(done)

    def _attempt(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Runs one step and gives its connection back to the pool. A failure is logged; what it left undone is due
        again."""
        try:
            return step(*arguments)
        except DatabaseError:
            metrics.FAILED_STEPS.inc()
            log.warning("%s: the database failed", getattr(step, "__name__", step), exc_info=True)
        except Exception:
            metrics.FAILED_STEPS.inc()
            log.exception("%s failed", getattr(step, "__name__", step))
        finally:
            connection.close()
        return None

    def _changed(self, key: WorkloadKey) -> None:
        with self._lock:
            self._changed_keys.add(key)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_writer, b"!")

    def _patience(self) -> float:
        alarm = self.verifications.next_alarm() if self.view.has_synced else POLL  # until then nobody hears it
        return max(0.0, min(POLL, alarm))
