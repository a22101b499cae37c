"""Verb 1: expired leases and deadlines end here. Every state has one, by the clock of the database.

Input: the tables. Output: the claims of actions whose lease has expired. Side effects: a transaction for each query.
"""

import logging
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from guardrails.models import effective_limits
from orchestrator import metrics
from orchestrator.models import Action, ActionState, Workload, transitions
from orchestrator.reconciler.batch import together
from orchestrator.reconciler.claim import Claim
from signals import transitions as signal_transitions
from signals.models import Signal, SignalState
from signals.reasons import Reason

log = logging.getLogger(__name__)

FORGOTTEN_AFTER = timedelta(days=1)
BATCH = 100  # rows of one pass


def reclaim(cluster: str, actor: str, held: Collection[UUID] = (), limit: int = BATCH) -> list[Claim]:
    """Claims the actions whose lease has expired. `held` are those that this process itself still works on."""
    expired = Action.objects.filter(cluster=cluster, state=ActionState.APPLYING, lease_until__lte=Now())
    rows = expired.exclude(pk__in=list(held)).select_related("workload", "signal")
    with transaction.atomic():  # other reconcilers reclaim at the same time, in another order
        free = rows.select_for_update(skip_locked=True, of=("self",))[:limit]
        stored = transitions.store([transitions.reclaim(row, actor) for row in free])
    metrics.TAKEOVERS.inc(len(stored))
    return [Claim.of(one.action) for one in stored]


def expire(actor: str) -> None:
    """Ends what no reconciler took up and nobody reviewed in time, of every cluster: one may have no reconciler."""
    unclaimed = Q(state=ActionState.PENDING, ambiguous=False)
    over = Action.objects.filter(unclaimed | Q(state=ActionState.NEEDS_REVIEW), deadline_at__lte=Now())
    rows = list(over.select_related("workload", "signal")[:BATCH])
    for _ in together(rows, lambda some: transitions.store([_expired(row, actor) for row in some]), _log_failure):
        pass
    forgotten = Signal.objects.filter(state=SignalState.PENDING, last_seen_at__lte=Now() - FORGOTTEN_AFTER)
    message = "No reconciler took it up within a day."
    signals = forgotten.order_by("fingerprint").defer("payload")[:BATCH]
    signal_transitions.store([signal_transitions.deny(one, Reason.SIGNAL_EXPIRED, message) for one in signals])


def cancel_resolved(cluster: str, actor: str) -> None:
    """Cancels the actions that were not applied yet and whose signal is resolved. An ambiguous action is not cancelled:
    its next claim reads the target first."""
    waiting = [ActionState.PENDING, ActionState.AWAITING_APPROVAL]
    unapplied = Action.objects.filter(
        cluster=cluster, state__in=waiting, ambiguous=False, signal__resolved_at__isnull=False
    )
    rows = list(unapplied.select_related("workload", "signal")[:BATCH])
    if not rows:
        return
    with transaction.atomic():
        Workload.lock_rows({row.workload_id for row in rows})
        signals = Signal.objects.filter(pk__in=[row.signal_id for row in rows], resolved_at__isnull=False)
        # A signal that fires again clears `resolved_at`: its row is locked until the action is cancelled.
        resolved = set(signals.order_by("fingerprint").select_for_update(no_key=True).values_list("pk", flat=True))
        message = "The problem was resolved before the action was applied."
        transitions.store(
            [
                transitions.cancel(row, Reason.SIGNAL_RESOLVED, message, actor)
                for row in rows
                if row.signal_id in resolved
            ]
        )


def _log_failure(action: Action, error: Exception) -> None:
    """Its row may be of a newer version of SmartOps, whose processes end it."""
    metrics.FAILED_STEPS.inc()
    log.error("action %s could not be ended", action.pk, exc_info=error)


def _expired(action: Action, actor: str) -> transitions.Transition:
    if action.state == ActionState.NEEDS_REVIEW:
        return transitions.expire_review(action, effective_limits(action.workload.target), actor)
    message = action.message or "No reconciler took it up in time."
    return transitions.cancel(action, Reason.ACTION_EXPIRED, message, actor)
