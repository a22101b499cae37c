"""The reconciler: reclaim, dispatch, admit, settle, verify, again and again, until it is stopped.

One thread reads and writes the database and decides what is next. Calls to the cluster and to the policy engine run on
a pool; their answers are collected at the beginning of each pass.
"""

import logging
import os
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from threading import Event, Lock
from typing import Any
from uuid import UUID

from django.db import Error, connection

from orchestrator import metrics
from orchestrator.decide.policy import policy_is_configured
from orchestrator.k8s import naming
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.sync import Delays
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Heartbeat, ObservedWorkload
from orchestrator.process import gauges
from orchestrator.publish.kubernetes import KubernetesEvents
from orchestrator.publish.publishers import Publishers
from orchestrator.reconciler import admit, approvals, calls, dispatch, reclaim, settle, verify
from orchestrator.reconciler.batch import together
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.clock import Clock, SystemClock
from orchestrator.reconciler.inbox import Inbox
from orchestrator.reconciler.outage import Outage
from orchestrator.reconciler.pool import RESERVED, Pool, ThreadPool
from orchestrator.reconciler.snapshot import Snapshot
from signals import actors
from signals.ledger import Window
from signals.lib import partitions
from signals.lib.availability import describe, is_repeatable, is_unavailable, loses_session
from signals.lib.notifications import listen
from signals.types import Named, NamingFacts, Origin

log = logging.getLogger(__name__)

POLL = 1.0  # seconds: the guarantee behind all notifications, and the grain of deferrals
STALLED = 30.0  # seconds without a pass
MEASURE = 10.0  # seconds between two measurements of how much waits, and the grain of deadlines
PACE = 0.05  # seconds from one pass to the next under load: what arrives in between shares its transactions
PARTITIONS = 3600.0  # seconds between two attempts to create the partitions of the next months
FORGET = 600.0  # seconds between two deletions of windows that recognize no repeat any more
BEAT = 5.0  # seconds between two heartbeats; the console calls a reconciler stopped after 12
SNAPSHOT = 1.0  # seconds between two batches of observed workloads
GRACE = 20.0  # seconds in which claimed actions may end after `stop`


class Reconciler:
    """One of any number of equal processes for one cluster, with `workers` network calls at a time."""

    def __init__(
        self,
        cluster: Cluster,
        cluster_name: str,
        namespaces: Iterable[str],
        workers: int = 16,
        *,
        clock: Clock | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.actor = actors.reconciler(f"{socket.gethostname()}/{os.getpid()}")
        self.cluster, self.cluster_name, self.workers = cluster, cluster_name, workers
        self.clock = clock or SystemClock()
        self.pool = pool or ThreadPool(workers, self._wake)
        self.cache = ClusterCache(cluster, namespaces, self._target_changed, self.clock.monotonic, self._rollout_ended)
        self.verifications = verify.Verifications(cluster_name, self.clock)
        self.snapshot = Snapshot(cluster_name, self.actor, self.cache)
        self.publishers = Publishers(cluster_name, [KubernetesEvents(cluster)])
        self._inbox = Inbox()
        self._outage = Outage()
        self._asking: set[UUID] = set()  # the signals whose decision waits for the network
        self._rehearsing: set[UUID] = set()  # the waiting actions of which a dry run is under way
        self._claims: set[Claim] = set()
        self._signals_due = self._actions_due = self._direct_due = True
        self._turned_at = self._passed_at = self.clock.monotonic()
        self._next_sweep = self._next_measure = self._next_beat = self._next_partitions = 0.0
        self._next_forget = self._next_snapshot = 0.0
        self._resumed: Delays | None = None  # the delays for which waiting rows were made due
        self._settings: int | None = None  # the version for which freed rows were made due
        self._asked_after: UUID | None = None  # the last waiting action that was compared with its target
        self._appeared = 0  # the workloads that the cache had when unresolved signals were made due
        self._changed_targets: set[WorkloadKey] = set()
        self._ended_rollouts: set[WorkloadKey] = set()
        self._lock = Lock()  # of these two sets
        self._stop = Event()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_writer, False)
        os.set_blocking(self._wake_reader, False)

    def run(self, *, drain: bool = False) -> None:
        """Until `stop`; with `drain`, until nothing is due, under way or being verified."""
        where = ", ".join(sorted(self.cache.namespaces))
        log.info("control loop started: cluster %s, namespaces %s, %d workers", self.cluster_name, where, self.workers)
        self.cache.start()
        self.publishers.start()
        try:
            for notifications in listen(self._stop, timeout=self._patience, wake_fd=self._wake_reader):
                self._clear_wake()
                if notifications:
                    self.publishers.wake()
                began = self.clock.monotonic()
                if not self._attempt(self.run_once, {model for model, _ in notifications}):
                    self._stop.wait(POLL)  # it ended half-way, and what is due stays due: not again at full speed
                elif drain and self._attempt(self._is_idle):
                    break
                elif self.pool.under_way + len(self.verifications) > self.workers:
                    self._stop.wait(max(0.0, began + PACE - self.clock.monotonic()))
            self._finish()
        finally:
            self.pool.close()
            self.publishers.stop()
            self.cache.stop()
            connection.close()

    def stop(self) -> None:
        """What is under way ends; nothing new begins. Safe in a signal handler."""
        self._stop.set()
        self._wake()

    @property
    def alive(self) -> bool:
        """Whether a pass has begun within the last `STALLED` seconds, successful or not."""
        return self.clock.monotonic() - self._turned_at < STALLED

    def problems(self) -> list[str]:
        """Why it is not ready, one line each; empty if it is ready. It is ready with one namespace that it can read."""
        now, problems = self.clock.monotonic(), []
        if (silent := now - self._turned_at) >= STALLED:
            problems.append(f"control loop stalled: no pass for {silent:.0f} s")
        elif cause := self._outage.cause:
            problems.append(f"database unavailable: {cause} for {now - self._outage.since:.0f} s")
        elif (failing := now - self._passed_at) >= STALLED:
            problems.append(f"database unavailable: no pass of the control loop has succeeded for {failing:.0f} s")
        return problems + ([] if self._serves_any() else self._unsynced())

    def warnings(self) -> list[str]:
        """What does not work although it is ready, one line each: namespaces that cannot be read."""
        return self._unsynced() if self._serves_any() else []

    def run_once(self, notified: Iterable[str] = ()) -> bool:
        """One pass of the five verbs. `notified`: what may be due, "signal" or "pending" (actions)."""
        self._turned_at = self.clock.monotonic()
        self._inbox.take_in(self.pool.answers())
        if sweep := self._turned_at >= self._next_sweep:
            self._next_sweep = self._turned_at + POLL
        self._signals_due |= sweep or "signal" in notified
        pending = sweep or "pending" in notified
        self._actions_due |= pending
        self._direct_due |= pending
        if sweep:
            self._reclaim()
        self._record_rehearsals()
        self._check()
        self._step(self._wake_deferred)
        # Neither due actions nor due signals wait until there are none of the others.
        room = self._room()
        if room:
            room -= self._dispatch(room - room // 2 if self._signals_due else room)
        else:
            self._dispatch(RESERVED - sum(map(_is_direct, self._claims)), direct=True)
        self._admit(room)
        self._settle()
        self._verify(load=sweep)
        self._passed_at = self.clock.monotonic()
        self._outage.end(self._passed_at)
        gauges.LAST_PASS.set_to_current_time()
        if self._passed_at >= self._next_beat:
            self._next_beat = self._passed_at + BEAT
            self._step(Heartbeat.beat, self.cluster_name, self.actor)
        if self._passed_at >= self._next_snapshot:
            self._next_snapshot = self._passed_at + SNAPSHOT
            self._step(self.snapshot.store, self._passed_at)
        if self._passed_at >= self._next_partitions:
            self._next_partitions = self._passed_at + PARTITIONS
            self._step(partitions.create_ahead)
        if self._passed_at >= self._next_forget:
            self._next_forget = self._passed_at + FORGET
            self._step(Window.forget_some)
            self._step(ObservedWorkload.forget_unobserved)
        return True

    def _reclaim(self) -> None:
        """An error in one of these queries must not keep the others, or the other verbs, from their work."""
        room, delays = 2 * self.workers - self.pool.under_way, self.cache.delays()
        if room > 0:  # a reclaimed action goes on to its write, within its lease
            held = frozenset(claim.action.pk for claim in self._claims)
            claims = self._step(reclaim.reclaim, self.cluster_name, self.actor, held, room, delays) or ()
            self._take(claims)
            if len(claims) == room:
                self._next_sweep = self._turned_at  # more may wait
        if (appeared := self.cache.appeared) != self._appeared:
            self._step(reclaim.wake_unresolved, self.cluster_name)
            self._appeared = appeared
        if delays != self._resumed:
            self._resumed = self._step(reclaim.resume, self.cluster_name, delays)
        self._settings = self._step(reclaim.wake_freed, self.cluster_name, self._settings)
        self._step(reclaim.cancel_resolved, self.cluster_name, self.actor)
        self._step(self._ask_again)
        if self._turned_at >= self._next_measure:
            self._next_measure = self._turned_at + MEASURE
            self._step(reclaim.expire, self.actor)
            self._step(reclaim.report_unattended, self.cluster_name)
            self._step(reclaim.release_held, self.cluster_name, self.cache.observe)
            gauges.UNREADABLE.set(len(self.cache.namespaces) - len(self.cache.readable))
            self._step(gauges.measure, self.cluster_name)

    def _ask_again(self) -> None:
        """The next of the actions that wait for an approval; after the last one, the first ones again."""
        rows = approvals.waiting(self.cluster_name, self._asked_after)
        self._asked_after = rows[-1].pk if len(rows) == approvals.BATCH else None
        if rows:
            approvals.ask_again(rows, self.cache.observe, self.actor)
        for row in filter(approvals.is_requested, rows):
            if row.pk not in self._rehearsing:
                self._rehearsing.add(row.pk)
                self.pool.submit(partial(calls.rehearse, row, self.cluster))

    def _record_rehearsals(self) -> None:
        while self._inbox.rehearsals:
            one = self._inbox.rehearsals.pop()
            self._rehearsing.discard(one.action.pk)
            self._step(approvals.record, one)

    def _wake_deferred(self) -> None:
        """The signals that wait for a rollout are due when the cache shows its end. It does so before they are decided
        on, so that none is deferred for what has ended."""
        with self._lock:
            ended, self._ended_rollouts = self._ended_rollouts, set()
        if not ended:
            return
        try:
            reclaim.wake(self.cluster_name, ended)
        except Error:
            with self._lock:
                self._ended_rollouts |= ended
            raise
        self._signals_due = True

    def _admit(self, room: int) -> None:
        # After an error of the database their signals are still due: the next pass observes their targets anew.
        candidates, self._inbox.candidates = self._inbox.candidates, []
        self._asking -= {one.signal.pk for one in candidates}
        if self._signals_due and room > 0:
            asking = self._asking | {one.signal.pk for one in candidates}
            delays = self.cache.delays()
            found, self._signals_due = admit.due(self.cluster_name, room, asking, self.cache.observe, delays)
            for one in found:
                if admit.needs_asking(one, policy_is_configured()):
                    self._asking.add(one.signal.pk)
                    self.pool.submit(partial(calls.ask, one, self.cache.observe_live, self._read_name))
                else:
                    candidates.append(one)
        for claim in together(candidates, partial(admit.admit, actor=self.actor), admit.record_failure):
            self._write(claim)

    def _read_name(self, named: Named) -> NamingFacts:
        return naming.read(named, self.cluster, self.cache)

    def _dispatch(self, room: int, *, direct: bool = False) -> int:
        """How many actions were claimed. `direct`: no others."""
        due = self._direct_due if direct else self._actions_due
        if not due or room <= 0:
            return 0
        claims = dispatch.claim_due(self.cluster_name, room, self.actor, self.cache.delays(), direct=direct)
        self._direct_due = len(claims) == room
        if not direct:
            self._actions_due = self._direct_due
        self._take(claims)
        return len(claims)

    def _check(self) -> None:
        ended = {one.claim for one in self._inbox.readings}
        store = partial(dispatch.check, actor=self.actor, jitter=self.clock.jitter())
        try:
            for claim in together(self._inbox.readings, store, partial(dispatch.record_failure, actor=self.actor)):
                ended.discard(claim)
                self._write(claim)
        finally:  # an error leaves some of them in the inbox
            self._let_go(ended.difference(one.claim for one in self._inbox.readings))

    def _settle(self) -> None:
        for one in self._inbox.answers:
            settle.mark_ambiguous(one)
        for one in self._inbox.take_unclear(settle.is_unclear):
            self._read(one.claim)
        settled = {one.claim for one in self._inbox.answers}
        store = partial(settle.settle, actor=self.actor, jitter=self.clock.jitter())
        failed = partial(settle.record_failure, actor=self.actor)
        try:
            self.verifications.watch(together(self._inbox.answers, store, failed))
        finally:
            self._let_go(settled.difference(one.claim for one in self._inbox.answers))

    def _verify(self, *, load: bool) -> None:
        if load:
            self.verifications.load()
        while self._inbox.confirmations:
            self.verifications.confirm(self._inbox.confirmations.pop())
        changed = self._take_changed_targets()
        self.snapshot.changed(changed)
        for one in self.verifications.due(changed):
            known = self.cache.is_readable(one.key.namespace, one.key.kind)
            if self.verifications.examine(one, self.cache.get(one.key), known=known):
                self.pool.submit(partial(calls.confirm, one.key, one.action.pk, one.span, self.cluster))
        for ended in together(self.verifications.ended, partial(verify.record, actor=self.actor), verify.log_failure):
            verify.count(ended)

    def _take(self, claims: Iterable[Claim]) -> None:
        """Reads the targets. An action that was claimed too often is given up instead."""
        for claim in claims:
            if claim.action.attempts > dispatch.MAX_CLAIMS:
                self._attempt(dispatch.give_up, claim, self.actor)
                claim.span.end()
            else:
                self._read(claim)

    def _read(self, claim: Claim) -> None:
        """A live read, before a write."""
        self._claims.add(claim)
        state = self.cache.observe(claim.action.workload.target)
        self.pool.submit(partial(calls.read, claim, self.cluster, state), reserved=_is_direct(claim))

    def _write(self, claim: Claim) -> None:
        self._claims.add(claim)
        claim.writes += 1
        self.pool.submit(partial(calls.write, claim, self.cluster), reserved=_is_direct(claim))

    def _let_go(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._claims.discard(claim)
            claim.span.end()

    def _room(self) -> int:
        """How many more rows to take on: enough to keep every worker busy, few enough to leave work to others and to
        reach each within its lease. None before half of them are done, so that rows come in batches."""
        under_way = self.pool.under_way
        return 2 * self.workers - under_way if under_way <= self.workers else 0

    def _is_idle(self) -> bool:
        """Nothing is due, under way or being verified. Reads the tables: a notification may still be on its way."""
        if self._busy() or not self.cache.has_synced:
            return False
        self._next_sweep, self._signals_due, self._actions_due = 0.0, True, True
        self.run_once()
        if self._busy() or self._signals_due or self._actions_due:
            return False
        return not admit.any_due(self.cluster_name, self.cache.delays())

    def _busy(self) -> bool:
        return bool(self._claims or self.pool.under_way or len(self.verifications))

    def _finish(self) -> None:
        """The claimed actions end, or go back to the table: their answers are recorded, and no other row is taken
        up."""
        deadline = self.clock.monotonic() + GRACE
        while self._claims and self.clock.monotonic() < deadline:
            select.select([self._wake_reader], [], [], POLL)
            self._clear_wake()
            self._inbox.take_in(self.pool.answers())
            self._attempt(self._check)
            self._attempt(self._settle)
        self._attempt(Heartbeat.end, self.cluster_name, self.actor)
        if self._claims:
            log.warning("control loop stopped with %d claimed actions: others take them over", len(self._claims))

    def _attempt(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """The result of one step, None if it failed. A failure is logged; what it left undone is due again. An
        unavailable database is logged once."""
        try:
            return self._step(step, *arguments)
        except Error as error:
            metrics.FAILED_STEPS.inc()
            self._outage.begin(error, self.clock.monotonic())
        connection.close()  # it may be broken, or in a transaction that failed
        return None

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """As `_attempt` does, but raises the error if the database refuses every session: no other step can succeed."""
        try:
            return step(*arguments)
        except Exception as error:
            if is_unavailable(error) and not loses_session(error):
                raise
            metrics.FAILED_STEPS.inc()
            if is_repeatable(error):
                log.warning("control loop: %s; due rows are tried again: %s", _name(step), describe(error))
            else:
                log.exception("control loop: error in %s; due rows are tried again", _name(step))
        connection.close()
        return None

    def _target_changed(self, key: WorkloadKey) -> None:
        """On the threads of the cache. After a list, rows that waited for it are due."""
        with self._lock:
            self._changed_targets.add(key)
        if not key.name:
            self._next_sweep = 0.0
        self._wake()

    def _rollout_ended(self, key: WorkloadKey) -> None:
        """On the threads of the cache, which report the change as well."""
        with self._lock:
            self._ended_rollouts.add(key)

    def _take_changed_targets(self) -> set[WorkloadKey]:
        with self._lock:
            changed, self._changed_targets = self._changed_targets, set()
        return changed

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_writer, b"!")

    def _clear_wake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 65536)

    def _patience(self) -> float:
        """Seconds until the next pass, if nothing happens before."""
        return max(0.0, min(POLL, self.verifications.next_alarm()))

    def _serves_any(self) -> bool:
        return bool(self.cache.readable) or not self.cache.namespaces

    def _unsynced(self) -> list[str]:
        return [f"cache not synced: {one}" for one in self.cache.unsynced()]


def _is_direct(claim: Claim) -> bool:
    return claim.action.origin == Origin.DIRECT


def _name(step: Callable[..., Any]) -> str:
    return getattr(step, "__name__", str(step))
