"""What waits for something is made due when that has come: within reclaim, and after ended rollouts in every pass.

Input: the tables and the cache. Output: none. Side effects: a transaction for each query. Each row also has a time at
which it is due in any case, so a cause that no process sees delays it and loses nothing.
"""

import logging
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Exists, Manager, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Cooldown, Freeze
from orchestrator import metrics
from orchestrator.decide.hold import is_over
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.sync import Delays
from orchestrator.k8s.target import ObserveTarget
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState
from orchestrator.models.workload import limit_lock_waits
from orchestrator.reconciler.self_pipe import ReportedKeys
from signals.models import Problem, SettingsVersion, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from signals.unidentified import UNIDENTIFIED

log = logging.getLogger(__name__)

BATCH = 1000  # rows that one transaction changes


class Waker:
    """Makes the waiting rows of one cluster due. For each cause it remembers the state for which it has made all rows
    due, and does nothing until that state changes. `ended_rollouts`: reported by the cache."""

    def __init__(self, cluster: str, cache: ClusterCache, ended_rollouts: ReportedKeys) -> None:
        self._cluster, self._cache, self._ended_rollouts = cluster, cache, ended_rollouts
        self._workloads = 0  # how many had appeared
        self._delays: Delays | None = None
        self._settings: int | None = None  # their version

    def on_new_workloads(self) -> None:
        """Signals whose names stand for no workload."""
        if (appeared := self._cache.appeared) != self._workloads and wake_unidentified(self._cluster):
            self._workloads = appeared

    def on_new_lists(self) -> None:
        """Rows that wait for a namespace or a kind to be readable."""
        if (delays := self._cache.delays()) != self._delays and wake_unread(self._cluster, delays):
            self._delays = delays

    def on_new_settings(self) -> None:
        """Rows that wait for the end of a freeze or a cooldown."""
        seen, self._settings = self._settings, None
        self._settings = wake_freed(self._cluster, seen)

    def on_ended_rollouts(self) -> bool:
        """Signals that wait for a rollout. Returns whether one may be due now."""
        ended = self._ended_rollouts.take()
        if ended:
            try:
                wake_after_rollouts(self._cluster, ended)
            except BaseException:
                self._ended_rollouts.add(*ended)
                raise
        return bool(ended)

    def on_ended_holds(self) -> None:
        """Signals whose refusal holds no longer: their next reports are decided on."""
        end_holds(self._cluster, self._cache.observe)


def wake_unidentified(cluster: str) -> bool:
    """Makes the signals due whose names stand for no workload: one may have appeared. Returns whether it was all of
    them."""
    return _make_due(Signal.objects, Signal.pending().filter(UNIDENTIFIED, cluster=cluster, not_before__gt=Now()))


def wake_unread(cluster: str, delays: Delays) -> bool:
    """Makes those rows due that wait for a list which this process can read now. Returns whether it was all of them.
    `delays` are those of its cache."""
    waiting = Q(cluster=cluster, reason=Reason.NAMESPACE_UNREADABLE, not_before__gt=Now())
    unread = [{"kind": kind} | ({} if place == "*" else {"namespace": place}) for place, kind in delays]
    if len({one["kind"] for one in unread if "namespace" not in one}) == len(Kind):
        return True
    signals = Signal.pending().filter(waiting, *(~Q(**one) for one in unread))
    of_workload = [{f"workload__{column}": value for column, value in one.items()} for one in unread]
    actions = Action.of_active_months().filter(waiting, *(~Q(**one) for one in of_workload), state=ActionState.PENDING)
    return all([_make_due(Signal.objects, signals), _make_due(Action.objects, actions)])


def wake_freed(cluster: str, seen: int | None) -> int | None:
    """Makes those signals and actions due that wait for a freeze or a cooldown, and are covered by none any more.
    Returns the version of the settings, or None if there are more of them. If the version is the one that was `seen`,
    there is nothing to do.

    The triggers of freezes and cooldowns make signals due, too. They miss a signal whose deferral is not committed when
    the freeze ends. The reconciler that decides on it commits the deferral before its next sweep."""
    version = SettingsVersion.objects.values_list("number", flat=True).first() or 0
    if version == seen:
        return version
    later = Q(cluster=cluster, not_before__gt=Now())
    signals = Signal.pending().filter(_freed(), later)
    actions = Action.of_active_months().filter(_freed("workload__", "name"), later, state=ActionState.PENDING)
    complete = all([_make_due(Signal.objects, signals), _make_due(Action.objects, actions)])
    return version if complete else None


def wake_after_rollouts(cluster: str, ended: Iterable[WorkloadKey]) -> None:
    """Makes the signals due that wait for the rollouts of these workloads."""
    targets = [Target(cluster, key.namespace, key.name, key.kind) for key in ended]
    with transaction.atomic():
        limit_lock_waits()
        Signal.wake(targets, (Reason.ROLLOUT_IN_PROGRESS, Reason.ROLLOUT_STUCK))


def end_holds(cluster: str, observe: ObserveTarget) -> None:
    """Ends the hold of each refusal whose target has changed, whose time is over, or whose problem has a newer signal:
    the next report is decided on. Of at most BATCH signals at a time."""
    held = Signal.objects.filter(cluster=cluster, state=SignalState.DENIED, holds__isnull=False)
    latest = Problem.objects.filter(pk=OuterRef("fingerprint"), signal=OuterRef("pk"))
    rows = held.only("cluster", "kind", "namespace", "workload", "holds").annotate(is_latest=Exists(latest))
    over = [row.pk for row in rows if not row.is_latest or _is_over(row, observe)]
    if not over:
        return
    with transaction.atomic():
        signals = held.filter(pk__in=over[:BATCH]).order_by("fingerprint")
        free = signals.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True)
        Signal.objects.filter(pk__in=list(free)).update(holds=None)


def _is_over(signal: Signal, observe: ObserveTarget) -> bool:
    try:
        return is_over(signal.holds or {}, observe(signal.target), timezone.now())
    except Exception:
        metrics.FAILED_STEPS.inc()
        text = "signal %s: the stored reason for not deciding again cannot be read; the next report is decided on"
        log.exception(text, signal.pk)
        return True


def _freed(prefix: str = "", name: str = "workload") -> Q:
    """Of rows with the columns of a target: `prefix` and `name` as in `Freeze.over_rows`."""
    cooldowns = Cooldown.over_rows(prefix, name)
    frozen, cooling = Q(reason=Reason.FROZEN), Q(reason=Reason.COOLDOWN_ACTIVE)
    return frozen & ~Exists(Freeze.over_rows(prefix, name)) | cooling & ~Exists(cooldowns)


def _make_due(table: Manager[Any], waiting: QuerySet[Any]) -> bool:
    """At most BATCH rows; whether it was all of them. A row that another session has locked is left to it."""
    with transaction.atomic():
        free = waiting.select_for_update(no_key=True, skip_locked=True, of=("self",)).values_list("pk", flat=True)
        return table.filter(pk__in=list(free[:BATCH])).update(not_before=Now()) < BATCH
