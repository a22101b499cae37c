"""Verb 1, its second half: what waits for something is made due when that has come.

Input: the tables and the cache. Output: none. Side effects: a transaction for each query. Each row also has a time at
which it is due in any case, so a cause that no process sees delays it and loses nothing.
"""

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Exists, Manager, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Freeze
from orchestrator.decide.hold import is_over
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.sync import Delays
from orchestrator.k8s.target import Observe
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState
from orchestrator.models.workload import limit_lock_waits
from orchestrator.reconciler.wakeup import ReportedKeys
from signals.models import Problem, SettingsVersion, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from signals.unresolved import UNRESOLVED

BATCH = 1000  # rows of one pass that are made due


class Waiting:
    """The rows of one cluster that wait. It remembers what it saw of each cause: there is nothing to do until that
    changes. After an error it has seen nothing. `ended_rollouts` are reported by the cache."""

    def __init__(self, cluster: str, cache: ClusterCache, ended_rollouts: ReportedKeys) -> None:
        self._cluster, self._cache, self._ended_rollouts = cluster, cache, ended_rollouts
        self._workloads = 0  # how many had appeared
        self._delays: Delays | None = None
        self._settings: int | None = None  # their version

    def wake_unresolved(self) -> None:
        """A workload has appeared."""
        if (appeared := self._cache.appeared) != self._workloads:
            wake_unresolved(self._cluster)
            self._workloads = appeared

    def wake_unread(self) -> None:
        """A list can be read."""
        if (delays := self._cache.delays()) != self._delays:
            self._delays = None
            wake_unread(self._cluster, delays)
            self._delays = delays

    def wake_freed(self) -> None:
        """A freeze or a cooldown has ended."""
        seen, self._settings = self._settings, None
        self._settings = wake_freed(self._cluster, seen)

    def wake_after_rollouts(self) -> bool:
        """A rollout has ended. Returns whether signals may be due for it."""
        ended = self._ended_rollouts.take()
        if ended:
            try:
                wake_after_rollouts(self._cluster, ended)
            except BaseException:
                self._ended_rollouts.add(*ended)
                raise
        return bool(ended)

    def release_held(self) -> None:
        release_held(self._cluster, self._cache.observe)


def wake_unresolved(cluster: str) -> None:
    """Makes the signals due whose names stand for no workload: one may have appeared."""
    _make_due(Signal.objects, Signal.pending().filter(UNRESOLVED, cluster=cluster, not_before__gt=Now()))


def wake_unread(cluster: str, delays: Delays) -> None:
    """Makes those rows due that wait for a list which this process can read now. `delays` are those of its cache."""
    waiting = Q(cluster=cluster, reason=Reason.NAMESPACE_UNREADABLE, not_before__gt=Now())
    unread = [{"kind": kind} | ({} if place == "*" else {"namespace": place}) for place, kind in delays]
    if len({one["kind"] for one in unread if "namespace" not in one}) == len(Kind):
        return
    signals = Signal.pending().filter(waiting, *(~Q(**one) for one in unread))
    _make_due(Signal.objects, signals)
    of_workload = [{f"workload__{column}": value for column, value in one.items()} for one in unread]
    actions = Action.recent().filter(waiting, *(~Q(**one) for one in of_workload), state=ActionState.PENDING)
    _make_due(Action.objects, actions)


def wake_freed(cluster: str, seen: int | None) -> int | None:
    """Makes those signals and actions due that wait for a freeze or a cooldown of which there is none any more. Returns
    the version of the settings; it has nothing to do while that is the version that was `seen`. None: there may be
    more of them.

    The triggers of freezes and cooldowns wake signals, too. But they do not see what a decision that is under way is
    about to defer. Such a decision of this process is committed before its next sweep."""
    version = SettingsVersion.objects.values_list("number", flat=True).first() or 0
    if version == seen:
        return version
    later = Q(cluster=cluster, not_before__gt=Now())
    freed = Q(reason=Reason.FROZEN) & ~Exists(Freeze.over_rows()) | Q(reason=Reason.COOLDOWN_ACTIVE)
    signals = _make_due(Signal.objects, Signal.pending().filter(freed, later))
    freed = Q(reason=Reason.FROZEN) & ~Exists(Freeze.over_rows("workload__", "name")) | Q(reason=Reason.COOLDOWN_ACTIVE)
    actions = _make_due(Action.objects, Action.recent().filter(freed, later, state=ActionState.PENDING))
    return None if BATCH in (signals, actions) else version


def wake_after_rollouts(cluster: str, ended: Iterable[WorkloadKey]) -> None:
    """Makes the signals due that wait for the rollouts of these workloads."""
    targets = [Target(cluster, key.namespace, key.name, key.kind) for key in ended]
    with transaction.atomic():
        limit_lock_waits()
        Signal.release((), targets, (Reason.ROLLOUT_IN_PROGRESS, Reason.ROLLOUT_STUCK))


def release_held(cluster: str, observe: Observe) -> None:
    """Where the target has changed since a refusal, the refusal holds no longer: the next report is decided on. Nor
    does one hold that is not the latest signal of its problem, or whose time is over: no report is counted on it."""
    held = Signal.objects.filter(cluster=cluster, state=SignalState.DENIED, holds__isnull=False)
    latest = Problem.objects.filter(pk=OuterRef("fingerprint"), signal=OuterRef("pk"))
    rows = held.only("cluster", "kind", "namespace", "workload", "holds").annotate(is_latest=Exists(latest))
    now = timezone.now()
    over = [row.pk for row in rows if not row.is_latest or is_over(row.holds or {}, observe(row.target), now)]
    if not over:
        return
    with transaction.atomic():
        signals = held.filter(pk__in=over).order_by("fingerprint")
        free = signals.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True)
        Signal.objects.filter(pk__in=list(free)).update(holds=None)


def _make_due(table: Manager[Any], waiting: QuerySet[Any]) -> int:
    """How many; at most BATCH. A row that another session has locked is left to it."""
    with transaction.atomic():
        free = waiting.select_for_update(no_key=True, skip_locked=True, of=("self",)).values_list("pk", flat=True)
        return table.filter(pk__in=list(free[:BATCH])).update(not_before=Now())
