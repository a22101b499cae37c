"""The reconciler: reclaim, dispatch, admit, settle, verify, again and again, until it is stopped.

One thread reads and writes the database and decides what is next. Calls to the cluster and to the policy engine run on
a pool; their answers are collected at the beginning of each pass.
"""

import logging
import os
import socket
from collections.abc import Collection, Iterable
from functools import partial
from uuid import UUID

from django.db import connection

from orchestrator.decide.policy import policy_is_configured
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import ActionState, Heartbeat, ObservedWorkload
from orchestrator.models.states import ACTIVE
from orchestrator.process import gauges
from orchestrator.publish.kubernetes import KubernetesEvents
from orchestrator.publish.publishers import Publishers
from orchestrator.reconciler import admit, approvals, dispatch, reclaim, settle, verify
from orchestrator.reconciler.batch import together
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.clock import Clock, SystemClock
from orchestrator.reconciler.pool import Pool, ThreadPool
from orchestrator.reconciler.readiness import Readiness
from orchestrator.reconciler.snapshot import Snapshot
from orchestrator.reconciler.steps import Periodic, Steps
from orchestrator.reconciler.under_way import UnderWay
from orchestrator.reconciler.wake import Waiting
from orchestrator.reconciler.wakeup import ReportedKeys, Stop, Wakeup
from signals import actors
from signals.ledger import Window
from signals.lib import partitions
from signals.lib.notifications import listen

log = logging.getLogger(__name__)

POLL = 1.0  # seconds: the guarantee behind all notifications, and the grain of deferrals
PACE = 0.05  # seconds from one pass to the next under load: what arrives in between shares its transactions
OVERDUE = 10.0  # seconds between two checks of deadlines and of the lengths of queues
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
        self.cluster_name, self.workers = cluster_name, workers
        self.clock = clock or SystemClock()
        self._wakeup, self._stop = Wakeup(), Stop()
        self.pool = pool or ThreadPool(workers, self._wakeup.set)
        self._changed_targets, ended_rollouts = ReportedKeys(), ReportedKeys()
        self.cache = ClusterCache(cluster, namespaces, self._target_changed, self.clock.monotonic, ended_rollouts.add)
        self.under_way = UnderWay(self.pool, cluster, self.cache, workers)
        self.steps = Steps(self.clock)
        self.readiness = Readiness(self.clock, self.cache, self.steps.outage)
        self.waiting = Waiting(cluster_name, self.cache, ended_rollouts)
        self.verifications = verify.Verifications(cluster_name, self.clock)
        self.snapshot = Snapshot(cluster_name, self.actor, self.cache)
        self.publishers = Publishers(cluster_name, [KubernetesEvents(cluster)])
        self._asked_after: UUID | None = None  # the last waiting action that was compared with its target
        self._signals_due = self._actions_due = self._direct_due = True
        self._next_sweep = 0.0
        self._overdue, self._beat, self._snapshot = Periodic(OVERDUE), Periodic(BEAT), Periodic(SNAPSHOT)
        self._partitions, self._forget = Periodic(PARTITIONS), Periodic(FORGET)

    def run(self, *, drain: bool = False) -> None:
        """Until `stop`; with `drain`, until nothing is due, under way or being verified."""
        where = ", ".join(sorted(self.cache.namespaces))
        log.info("control loop started: cluster %s, namespaces %s, %d workers", self.cluster_name, where, self.workers)
        self.cache.start()
        self.publishers.start()
        try:
            for notifications in listen(self._stop, timeout=self._patience, wake_fd=self._wakeup.fd):
                if self._stop.is_set():
                    break
                self._wakeup.clear()
                if notifications:
                    self.publishers.wake()
                began = self.clock.monotonic()
                if not self.steps.attempt(self.run_once, {model for model, _ in notifications}):
                    self._stop.wait(POLL)  # it ended half-way, and what is due stays due: not again at full speed
                elif drain and self.steps.attempt(self._is_idle):
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
        """Calls under way end. No other row is claimed. Safe in a signal handler."""
        self._stop.set()
        self._wakeup.set()

    def run_once(self, notified: Iterable[str] = ()) -> bool:
        """One pass of the five verbs. `notified`: what may be due, "signal" or "pending" (actions)."""
        now = self.readiness.begin_pass()
        self.under_way.collect()
        if sweep := now >= self._next_sweep:
            self._next_sweep = now + POLL
        self._signals_due |= sweep or "signal" in notified
        if sweep or "pending" in notified:
            self._actions_due = self._direct_due = True
        states = self._states() if sweep else ()
        if sweep:
            self._reclaim(now, states)
        self._record_rehearsals()
        self._check()
        self._signals_due |= bool(self.steps.run(self.waiting.wake_after_rollouts))
        # Neither due actions nor due signals wait until there are none of the others.
        room = self.under_way.room()
        if room:
            room -= self._dispatch(room - room // 2 if self._signals_due else room)
        else:
            self._dispatch(self.under_way.room_for_direct(), direct=True)
        self._admit(room)
        self._settle()
        self._verify(load=ActionState.VERIFYING in states)
        self._keep_house(self.clock.monotonic())
        self.readiness.end_pass()
        return True

    def _states(self) -> Collection[str]:
        """Of the active actions. After an error, all of them."""
        found: Collection[str] | None = self.steps.run(reclaim.active_states, self.cluster_name)
        return ACTIVE if found is None else found

    def _reclaim(self, now: float, states: Collection[str]) -> None:
        """`states`: those of the active actions. An error in one of these queries must not keep the others, or the
        other verbs, from their work."""
        room = self.under_way.room_to_reclaim()
        if room and ActionState.APPLYING in states:  # a reclaimed action goes on to its write, within its lease
            held = frozenset(claim.action.pk for claim in self.under_way.claims)
            delays = self.cache.delays()
            claims = self.steps.run(reclaim.reclaim, self.cluster_name, self.actor, held, room, delays) or ()
            self._take(claims)
            if len(claims) == room:
                self._next_sweep = now  # more may wait
        for wake in (self.waiting.wake_unresolved, self.waiting.wake_unread, self.waiting.wake_freed):
            self.steps.run(wake)
        if ActionState.PENDING in states or ActionState.AWAITING_APPROVAL in states:
            self.steps.run(reclaim.cancel_resolved, self.cluster_name, self.actor)
        if ActionState.AWAITING_APPROVAL in states:
            self.steps.run(self._ask_again)
        if self._overdue.is_due(now):
            self.steps.run(reclaim.expire, self.actor)
            self.steps.run(reclaim.report_unattended, self.cluster_name)
            self.steps.run(self.waiting.release_held)
            self.steps.run(gauges.measure, self.cluster_name)
            gauges.UNREADABLE.set(len(self.cache.namespaces) - len(self.cache.readable))

    def _ask_again(self) -> None:
        """The next of the actions that wait for an approval; after the last one, the first ones again."""
        rows = approvals.waiting(self.cluster_name, self._asked_after)
        self._asked_after = rows[-1].pk if len(rows) == approvals.BATCH else None
        if rows:
            approvals.ask_again(rows, self.cache.observe, self.actor)
        for row in filter(approvals.is_requested, rows):
            self.under_way.rehearse(row)

    def _keep_house(self, now: float) -> None:
        """What is due now and then, after the verbs."""
        if self._beat.is_due(now):
            self.steps.run(Heartbeat.beat, self.cluster_name, self.actor)
        if self._snapshot.is_due(now):
            self.steps.run(self.snapshot.store, now)
        if self._partitions.is_due(now):
            self.steps.run(partitions.create_ahead)
        if self._forget.is_due(now):
            self.steps.run(Window.forget_some)
            self.steps.run(ObservedWorkload.forget_unobserved)

    def _record_rehearsals(self) -> None:
        rehearsals = self.under_way.inbox.rehearsals
        while rehearsals:
            one = rehearsals.pop()
            self.under_way.rehearsing.discard(one.action.pk)
            self.steps.run(approvals.record, one)

    def _admit(self, room: int) -> None:
        # After an error of the database their signals are still due: the next pass observes their targets anew.
        candidates = self.under_way.take_candidates()
        if self._signals_due and room > 0:
            asking = self.under_way.asking | {one.signal.pk for one in candidates}
            delays = self.cache.delays()
            found, self._signals_due = admit.due(self.cluster_name, room, asking, self.cache.observe, delays)
            for one in found:
                if admit.needs_asking(one, policy_is_configured()):
                    self.under_way.ask(one)
                else:
                    candidates.append(one)
        for claim in together(candidates, partial(admit.admit, actor=self.actor), admit.record_failure):
            self.under_way.write(claim)

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
        readings = self.under_way.inbox.readings
        store = partial(dispatch.check, actor=self.actor, jitter=self.clock.jitter)
        failed = partial(dispatch.record_failure, actor=self.actor)
        with self.under_way.recording(readings) as ended:
            for claim in together(readings, store, failed):
                ended.discard(claim)
                self.under_way.write(claim)

    def _settle(self) -> None:
        inbox = self.under_way.inbox
        for one in inbox.answers:
            settle.mark_ambiguous(one)
        for one in inbox.take_unclear(settle.is_unclear):
            self.under_way.read(one.claim)
        store = partial(settle.settle, actor=self.actor, jitter=self.clock.jitter)
        failed = partial(settle.record_failure, actor=self.actor)
        with self.under_way.recording(inbox.answers):
            self.verifications.watch(together(inbox.answers, store, failed))

    def _verify(self, *, load: bool) -> None:
        if load:
            self.verifications.load()
        confirmations = self.under_way.inbox.confirmations
        while confirmations:
            self.steps.run(self.verifications.confirm, confirmations.pop())
        changed = self._changed_targets.take()
        self.snapshot.changed(changed)
        for one in self.verifications.due(changed):
            self.steps.run(self._examine, one)
        for ended in together(self.verifications.ended, partial(verify.record, actor=self.actor), verify.log_failure):
            verify.count(ended)

    def _examine(self, one: verify.Watched) -> None:
        known = self.cache.is_readable(one.key.namespace, one.key.kind)
        if self.verifications.examine(one, self.cache.get(one.key), known=known):
            self.under_way.confirm(one)

    def _take(self, claims: Iterable[Claim]) -> None:
        """Reads the targets. An action that was claimed too often is given up instead."""
        for claim in claims:
            if claim.action.attempts > dispatch.MAX_CLAIMS:
                self.steps.attempt(dispatch.give_up, claim, self.actor)
                claim.span.end()
            else:
                self.under_way.read(claim)

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
        return bool(self.under_way) or len(self.verifications) > 0

    def _finish(self) -> None:
        """The claimed actions end, or go back to the table: their answers are recorded, and no other row is taken
        up."""
        deadline = self.clock.monotonic() + GRACE
        while self.under_way.claims and self.clock.monotonic() < deadline:
            self._wakeup.wait(POLL)
            self._wakeup.clear()
            self.under_way.collect()
            self.steps.attempt(self._check)
            self.steps.attempt(self._settle)
        self.steps.attempt(Heartbeat.end, self.cluster_name, self.actor)
        if left := self.under_way.claims:
            log.warning("control loop stopped with %d claimed actions: others take them over", len(left))

    def _target_changed(self, key: WorkloadKey) -> None:
        """On the threads of the cache. After a list, rows that waited for it are due."""
        self._changed_targets.add(key)
        if not key.name:
            self._next_sweep = 0.0
        self._wakeup.set()

    def _patience(self) -> float:
        """Seconds until the next pass, if nothing happens before."""
        return max(0.0, min(POLL, self.verifications.next_alarm()))
