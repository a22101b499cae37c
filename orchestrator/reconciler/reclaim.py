"""Verb 1: expired leases and deadlines end here. Every state has one, by the clock of the database.

Input: the tables. Output: the claims of actions whose lease has expired. Side effects: a transaction for each query.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Manager, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Freeze, effective_limits
from orchestrator import metrics
from orchestrator.decide.approval import required
from orchestrator.decide.hold import is_over
from orchestrator.k8s.sync import NO_DELAYS, Delays
from orchestrator.k8s.target import Observe
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, Workload, transitions
from orchestrator.models.workload import limit_lock_waits
from orchestrator.reconciler.batch import together
from orchestrator.reconciler.claim import Claim
from signals import transitions as signal_transitions
from signals.models import Problem, SettingsVersion, Signal, SignalState
from signals.reasons import Reason
from signals.types import Kind, Target
from signals.unresolved import UNRESOLVED

log = logging.getLogger(__name__)

FORGOTTEN_AFTER = timedelta(days=1)
UNATTENDED_AFTER = timedelta(minutes=1)
BATCH = 100  # rows of one pass
RESUMED = 1000  # rows of one pass that are made due


def reclaim(
    cluster: str,
    actor: str,
    held: Collection[UUID] = (),
    limit: int = BATCH,
    delays: Delays = NO_DELAYS,
) -> list[Claim]:
    """Claims the actions whose lease has expired. `held` are those that this process itself still works on. `delays`
    are those of the cache."""
    is_over = Action.is_past("lease_until", delays)
    expired = Action.recent().filter(is_over, cluster=cluster, state=ActionState.APPLYING)
    rows = expired.exclude(pk__in=list(held)).select_related("workload").prefetch_related("signal")
    with transaction.atomic():  # other reconcilers reclaim at the same time, in another order
        free = rows.select_for_update(skip_locked=True, of=("self",))[:limit]
        stored = transitions.store([transitions.reclaim(row, actor) for row in free])
    metrics.TAKEOVERS.inc(len(stored))
    return [Claim.of(one.action) for one in stored]


def resume(cluster: str, delays: Delays) -> Delays:
    """Makes those rows due that wait for a list which this process can read now. Returns `delays`, those of the cache:
    it has nothing to do until they change."""
    waiting = Q(cluster=cluster, reason=Reason.NAMESPACE_UNREADABLE, not_before__gt=Now())
    unread = [{"kind": kind} | ({} if place == "*" else {"namespace": place}) for place, kind in delays]
    if len({one["kind"] for one in unread if "namespace" not in one}) == len(Kind):
        return delays
    signals = Signal.pending().filter(waiting, *(~Q(**one) for one in unread))
    _make_due(Signal.objects, signals)
    of_workload = [{f"workload__{column}": value for column, value in one.items()} for one in unread]
    actions = Action.recent().filter(waiting, *(~Q(**one) for one in of_workload), state=ActionState.PENDING)
    _make_due(Action.objects, actions)
    return delays


def wake(cluster: str, ended: Iterable[WorkloadKey]) -> None:
    """Makes the signals due that wait for the rollouts of these workloads."""
    targets = [Target(cluster, key.namespace, key.name, key.kind) for key in ended]
    with transaction.atomic():
        limit_lock_waits()
        Signal.release((), targets, (Reason.ROLLOUT_IN_PROGRESS, Reason.ROLLOUT_STUCK))


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
    return None if RESUMED in (signals, actions) else version


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


def wake_unresolved(cluster: str) -> None:
    """Makes the signals due whose names stand for no workload: one may have appeared."""
    _make_due(Signal.objects, Signal.pending().filter(UNRESOLVED, cluster=cluster, not_before__gt=Now()))


def expire(actor: str) -> None:
    """Ends what no reconciler took up and nobody reviewed in time, of every cluster: one may have no reconciler."""
    unclaimed = Q(state=ActionState.PENDING, ambiguous=False)
    undecided = Q(state__in=[ActionState.NEEDS_REVIEW, ActionState.AWAITING_APPROVAL])
    over = Action.recent().filter(unclaimed | undecided, deadline_at__lte=Now())
    rows = list(over.select_related("workload")[:BATCH])
    for _ in together(rows, lambda some: transitions.store([_expired(row, actor) for row in some]), _log_failure):
        pass
    forgotten = Signal.pending().filter(last_seen_at__lte=Now() - FORGOTTEN_AFTER)
    signals = forgotten.order_by("fingerprint").defer("payload")[:BATCH]
    signal_transitions.store([signal_transitions.deny(one, Reason.SIGNAL_EXPIRED, _forgotten(one)) for one in signals])


def report_unattended(cluster: str) -> None:
    """Says why the due rows of other clusters wait. They stay due for a reconciler of that cluster."""
    due = {"reason": "", "not_before__lte": Now() - UNATTENDED_AFTER}
    for rows in (
        Signal.pending().filter(**due).exclude(cluster=cluster),
        Action.recent().filter(**due, state=ActionState.PENDING).exclude(cluster=cluster),
    ):
        with transaction.atomic():
            free = rows.select_for_update(no_key=True, skip_locked=True).values_list("pk", "cluster")
            found = defaultdict[str, list[UUID]](list)
            for pk, name in free[:BATCH]:
                found[name].append(pk)
            for name, pks in found.items():
                message = f"No reconciler of the cluster “{name}” has taken it up within a minute."
                message += f" Start one with --cluster {name}."
                rows.model.objects.filter(pk__in=pks).update(reason=Reason.NO_RECONCILER, message=message)


def cancel_resolved(cluster: str, actor: str) -> None:
    """Cancels the actions that were not applied yet and whose signal is resolved. An ambiguous action is not cancelled:
    its next claim reads the target first."""
    waiting = [ActionState.PENDING, ActionState.AWAITING_APPROVAL]
    of_signals = Action.recent().filter(cluster=cluster, state__in=waiting, ambiguous=False, signal__isnull=False)
    resolved = Signal.resolved(of_signals.values_list("signal_id", flat=True))
    if not resolved:
        return
    rows = list(of_signals.filter(signal__in=resolved[:BATCH]).select_related("workload"))
    with transaction.atomic():
        free = Workload.lock_free_rows({row.workload_id for row in rows})
        signals = Signal.objects.filter(
            pk__in=[row.signal_id for row in rows if row.workload_id in free], resolved_at__isnull=False
        )
        # A signal that fires again clears `resolved_at`: its row is locked until the action is cancelled.
        locked = signals.order_by("fingerprint").select_for_update(no_key=True, skip_locked=True)
        still_resolved = set(locked.values_list("pk", flat=True))
        message = "The problem was resolved before the action was applied."
        transitions.store(
            [
                transitions.cancel(row, Reason.SIGNAL_RESOLVED, message, actor)
                for row in rows
                if row.signal_id in still_resolved
            ]
        )


def _make_due(table: Manager[Any], waiting: QuerySet[Any]) -> int:
    """How many; at most RESUMED. A row that another session has locked is left to it."""
    with transaction.atomic():
        free = waiting.select_for_update(no_key=True, skip_locked=True, of=("self",)).values_list("pk", flat=True)
        return table.filter(pk__in=list(free[:RESUMED])).update(not_before=Now())


def _log_failure(action: Action, error: Exception) -> None:
    """Its row may be of a newer version of SmartOps, whose processes end it."""
    metrics.FAILED_STEPS.inc()
    log.error("action %s could not be ended", action.pk, exc_info=error)


def _expired(action: Action, actor: str) -> transitions.Transition:
    if action.state == ActionState.NEEDS_REVIEW:
        return transitions.expire_review(action, effective_limits(action.workload.target), actor)
    if action.state == ActionState.AWAITING_APPROVAL:
        wanted = required(action)
        persons = "Nobody" if wanted == 1 else f"Fewer than {wanted} persons"
        return transitions.expire_approval(action, f"{persons} approved it in time.", actor)
    message = action.message or f"No reconciler of the cluster “{action.cluster}” took it up in time."
    return transitions.cancel(action, Reason.ACTION_EXPIRED, message, actor)


def _forgotten(signal: Signal) -> str:
    message = f"No reconciler of the cluster “{signal.cluster}” decided on it within a day."
    return f"{message} Before that: {signal.message}" if signal.message else message
