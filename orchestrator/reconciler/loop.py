"""The reconciler: reclaim, plan, claim, admit, record, verify, again and again, until it is stopped.

One thread reads and writes the database and decides what is next. Calls to the cluster and to the policy engine run on
a pool; their answers are collected at the beginning of each pass.
"""

import logging
import os
import socket
from collections.abc import Collection, Iterable
from functools import partial

from django.conf import settings
from django.db import connection

from orchestrator.decide.policy import policy_is_configured
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import ActionState, Heartbeat
from orchestrator.publish.kubernetes import KubernetesEvents
from orchestrator.publish.publishers import Publishers
from orchestrator.reconciler import admit, claim, plan, reclaim, record, verify
from orchestrator.reconciler.batch import store_together
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.clock import Clock, SystemClock
from orchestrator.reconciler.pool import Pool, ThreadPool
from orchestrator.reconciler.readiness import Readiness
from orchestrator.reconciler.self_pipe import ReportedKeys, SelfPipe, Stop
from orchestrator.reconciler.steps import Steps
from orchestrator.reconciler.sweep import Sweep
from orchestrator.reconciler.under_way import UnderWay
from orchestrator.reconciler.wake import Waker
from signals import actors
from signals.lib.notifications import listen

log = logging.getLogger(__name__)

POLL = 1.0  # seconds: the guarantee behind all notifications, and the grain of deferrals
PACE = 0.05  # seconds from one pass to the next under load: what arrives in between shares its transactions
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
        self._pipe, self._stop = SelfPipe(), Stop()
        self.pool = pool or ThreadPool(workers, self._pipe.set)
        self._changed_targets, ended_rollouts = ReportedKeys(), ReportedKeys()
        self.cache = ClusterCache(cluster, namespaces, self._target_changed, self.clock.monotonic, ended_rollouts.add)
        self.under_way = UnderWay(self.pool, cluster, self.cache, workers)
        self.steps = Steps(self.clock)
        self.readiness = Readiness(self.clock, self.cache, self.steps)
        self.waker = Waker(cluster_name, self.cache, ended_rollouts)
        self.sweep = Sweep(cluster_name, self.actor, self.steps, self.cache, self.under_way, self.waker)
        self.verifications = verify.Verifications(cluster_name, self.clock)
        self.publishers = Publishers(cluster_name, [KubernetesEvents(cluster, settings.SMARTOPS_CONSOLE_URL)])
        self._signals_due = self._actions_due = self._direct_due = True
        self._next_sweep = 0.0

    def run(self, *, drain: bool = False) -> None:
        """Until `stop`; with `drain`, until nothing is due, under way or being verified."""
        where = ", ".join(sorted(self.cache.namespaces))
        log.info("control loop started: cluster %s, namespaces %s, %d workers", self.cluster_name, where, self.workers)
        self.pool.start()
        self.cache.start()
        self.publishers.start()
        try:
            for notifications in listen(self._stop, timeout=self._patience, wake_fd=self._pipe.fd):
                if self._stop.is_set():
                    break
                self._pipe.clear()
                if notifications:
                    self.publishers.wake()
                began = self.clock.monotonic()
                if not self.steps.attempt(self.run_once, {model for model, _ in notifications}, otherwise=False):
                    self._stop.wait(POLL)  # it ended half-way, and what is due stays due: not again at full speed
                elif drain and self.steps.attempt(self._is_idle, otherwise=False):
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
        self._pipe.set()

    def run_once(self, notified: Iterable[str] = ()) -> bool:
        """One pass of the six verbs. `notified`: what may be due, "signal" or "pending" (actions). Raises an error if
        the database refuses every session; any other error ends its step. Each step also runs where it has nothing to
        do: one that failed before has succeeded then. Returns True: it came to its end."""
        run = self.steps.run
        now = self.readiness.begin_pass()
        self.under_way.collect()
        if is_sweep := now >= self._next_sweep:
            self._next_sweep = now + POLL
        self._signals_due |= is_sweep or "signal" in notified
        if is_sweep or "pending" in notified:
            self._actions_due = self._direct_due = True
        states = self.sweep.active_states() if is_sweep else ()
        if is_sweep:
            run(self._reclaim, now, states)
            self.sweep.run_reclaim(states)
        run(self.sweep.record_rehearsals)
        run(self._plan)
        self._signals_due |= run(self.waker.on_ended_rollouts, otherwise=False)
        # Neither due actions nor due signals wait until there are none of the others.
        room = self._room()
        claimed = run(self._claim, room - room // 2 if self._signals_due else room, otherwise=0)
        run(self._claim_direct, 0 if room else self.under_way.room_for_direct())
        run(self._admit, room - claimed)
        run(self._record)
        if is_sweep:
            run(self._load, states)
        run(self._verify)
        self.sweep.run_periodic(now)
        self.readiness.end_pass()
        return True

    def _room(self) -> int:
        """For how many more rows."""
        return self.under_way.room() if self._can_record() else 0

    def _can_record(self) -> bool:
        """Otherwise nothing more is begun: what is written must be recorded within its lease."""
        return not (self.steps.fails(self._plan) or self.steps.fails(self._record))

    def _reclaim(self, now: float, states: Collection[str]) -> None:
        """A reclaimed action goes on to its write, within its lease."""
        room = self.under_way.room_to_reclaim() if self._can_record() else 0
        if not room or ActionState.APPLYING not in states:
            return
        held = frozenset(one.action.pk for one in self.under_way.claims)
        claims = reclaim.reclaim(self.cluster_name, self.actor, held, room, self.cache.delays())
        if len(claims) == room:
            self._next_sweep = now  # more may wait
        self._take(claims)

    def _admit(self, room: int) -> None:
        # After an error of the database their signals are still due: the next pass observes their targets anew.
        candidates = self.under_way.take_candidates()
        if not self._can_record():
            return
        if self._signals_due and room > 0:
            looking_up = self.under_way.looking_up | {one.signal.pk for one in candidates}
            delays = self.cache.delays()
            found, self._signals_due = admit.due(self.cluster_name, room, looking_up, self.cache.observe, delays)
            for one in found:
                if admit.needs_lookup(one, policy_is_configured()):
                    self.under_way.look_up(one)
                else:
                    candidates.append(one)
        store_together(candidates, partial(admit.admit, actor=self.actor), admit.record_failure, self.under_way.write)

    def _claim(self, room: int) -> int:
        """How many actions were claimed."""
        if not self._actions_due or room == 0:
            return 0
        claims = claim.claim_due(self.cluster_name, room, self.actor, self.cache.delays())
        self._actions_due = self._direct_due = len(claims) == room
        self._take(claims)
        return len(claims)

    def _claim_direct(self, room: int) -> None:
        """They do not wait for others."""
        if self._direct_due and room > 0 and self._can_record():
            claims = claim.claim_due(self.cluster_name, room, self.actor, self.cache.delays(), direct=True)
            self._direct_due = len(claims) == room
            self._take(claims)

    def _plan(self) -> None:
        if self.steps.fails(self._record):
            return
        readings = self.under_way.inbox.readings
        store = partial(plan.plan, actor=self.actor, jitter=self.clock.jitter)
        failed = partial(plan.record_failure, actor=self.actor)
        with self.under_way.recording(readings) as ended:

            def write(planned: Claim) -> None:
                ended.discard(planned)
                self.under_way.write(planned)

            store_together(readings, store, failed, then=write)

    def _record(self) -> None:
        for one in self.under_way.inbox.answers:
            record.mark_ambiguous(one)
        for one in self.under_way.take_unclear(record.is_unclear):
            self.under_way.read(one.claim)
        answers = self.under_way.inbox.answers
        store = partial(record.record, actor=self.actor, jitter=self.clock.jitter)
        failed = partial(record.record_failure, actor=self.actor)
        with self.under_way.recording(answers):
            store_together(answers, store, failed, then=self.verifications.watch)

    def _load(self, states: Collection[str]) -> None:
        if ActionState.VERIFYING in states:
            self.verifications.load()

    def _verify(self) -> None:
        for one in self.under_way.take_confirmations():
            self.verifications.confirm(one)
        changed = self._changed_targets.take()
        for watched in self.verifications.due(changed):
            known = self.cache.is_readable(watched.key.namespace, watched.key.kind)
            if self.verifications.examine(watched, self.cache.get(watched.key), known=known):
                self.under_way.confirm(watched)
        self.sweep.snapshot.changed(changed)
        record = partial(verify.record, actor=self.actor)
        store_together(self.verifications.ended, record, self.verifications.log_failure, then=verify.count)

    def _take(self, claims: Iterable[Claim]) -> None:
        """Reads the targets. An action that was claimed too often is given up instead."""
        given_up = []
        for one in claims:
            if one.action.attempts > claim.MAX_CLAIMS:
                given_up.append(one)
                one.span.end()
            else:
                self.under_way.read(one)
        give_up = partial(claim.give_up, actor=self.actor)
        store_together(given_up, give_up, partial(claim.record_claim_failure, actor=self.actor))

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
            self._pipe.wait(POLL)
            self._pipe.clear()
            self.under_way.collect()
            self.steps.attempt(self._plan)
            self.steps.attempt(self._record)
        self.steps.attempt(Heartbeat.end, self.cluster_name, self.actor)
        if left := self.under_way.claims:
            log.warning("control loop stopped with %d claimed actions: others take them over", len(left))

    def _target_changed(self, key: WorkloadKey) -> None:
        """On the threads of the cache. After a list, rows that waited for it are due."""
        self._changed_targets.add(key)
        if not key.name:
            self._next_sweep = 0.0
        self._pipe.set()

    def _patience(self) -> float:
        """Seconds until the next pass, if nothing happens before."""
        waits = self.steps.waits(self._verify)  # then an alarm would wake the loop again and again
        return POLL if waits else max(0.0, min(POLL, self.verifications.next_alarm()))
