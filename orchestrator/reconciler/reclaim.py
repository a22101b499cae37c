"""Verb 1: expired leases, and the deadlines of what waits, end here, by the clock of the database. The deadline of a
verification ends in verify.py; a pending action that may have been applied has none, and is claimed again.

Input: the tables. Output: the claims of actions whose lease has expired. Side effects: a transaction for each query.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from guardrails.models import effective_limits
from orchestrator import metrics
from orchestrator.decide.approval import required
from orchestrator.k8s.sync import NO_DELAYS, Delays
from orchestrator.models import Action, ActionState, Workload, transition_store, transitions
from orchestrator.models.keys import ActiveAction
from orchestrator.models.states import ACTIVE
from orchestrator.reconciler.batch import store_together
from orchestrator.reconciler.claim import Claim, claim_free
from signals import transitions as signal_transitions
from signals.models import Signal
from signals.reasons import Reason

log = logging.getLogger(__name__)

FORGOTTEN_AFTER = timedelta(days=1)
UNATTENDED_AFTER = timedelta(minutes=1)
BATCH = 100  # rows of one pass


def active_states(cluster: str) -> Collection[str]:
    """Those that an active action of the cluster is in. A step has nothing to do where there is none in its state. The
    small table says whether there is one at all."""
    if not ActiveAction.objects.exists():
        return ()
    rows = Action.of_active_months().filter(cluster=cluster, state__in=ACTIVE)
    return frozenset(rows.order_by().values_list("state", flat=True).distinct())


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
    expired = Action.of_active_months().filter(is_over, cluster=cluster, state=ActionState.APPLYING)
    others = expired.exclude(pk__in=list(held))
    stored = claim_free(others, limit, lambda row: transitions.reclaim(row, actor), "lease_until")
    metrics.TAKEOVERS.inc(len(stored))
    return [Claim.of(one.action) for one in stored]


def expire_actions(actor: str) -> None:
    """Ends those that no reconciler took up and nobody reviewed in time, of every cluster: one of them may have no
    reconciler."""
    unclaimed = Q(state=ActionState.PENDING, ambiguous=False)
    undecided = Q(state__in=[ActionState.NEEDS_REVIEW, ActionState.AWAITING_APPROVAL])
    over = Action.of_active_months().filter(unclaimed | undecided, deadline_at__lte=Now())
    # Any of them: rows that cannot be ended keep no others from their end.
    rows = list(over.select_related("workload").order_by("?")[:BATCH])
    store_together(rows, lambda some: transition_store.store([_expired(row, actor) for row in some]), _log_failure)


def expire_signals() -> None:
    """Ends those that no reconciler decided on, of every cluster."""
    forgotten = Signal.pending().filter(last_seen_at__lte=Now() - FORGOTTEN_AFTER)
    signals = list(forgotten.order_by("?").defer("payload")[:BATCH])  # any of them, as above
    store_together(signals, _expire_signals, _log_signal_failure)


def _expire_signals(signals: Sequence[Signal]) -> list[signal_transitions.Transition]:
    expired = [signal_transitions.deny(one, Reason.SIGNAL_EXPIRED, _forgotten(one)) for one in signals]
    return signal_transitions.store(expired)


def report_unattended(cluster: str) -> None:
    """Says why the due rows of other clusters wait. They stay due for a reconciler of that cluster."""
    due = {"reason": "", "not_before__lte": Now() - UNATTENDED_AFTER}
    for rows in (
        Signal.pending().filter(**due).exclude(cluster=cluster),
        Action.of_active_months().filter(**due, state=ActionState.PENDING).exclude(cluster=cluster),
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
    of_signals = Action.of_active_months().filter(
        cluster=cluster, state__in=waiting, ambiguous=False, signal__isnull=False
    )
    if resolved := Signal.resolved(of_signals.values_list("signal_id", flat=True)):
        rows = list(of_signals.filter(signal__in=resolved[:BATCH]).select_related("workload"))
        store_together(rows, partial(_cancel_resolved, actor=actor), _log_failure)


def _cancel_resolved(rows: Sequence[Action], actor: str) -> list[transition_store.Transition]:
    message = "The problem was resolved before the action was applied."
    with transaction.atomic():
        free = Workload.lock_free_rows({row.workload_id for row in rows})
        signals = Signal.objects.filter(
            pk__in=[row.signal_id for row in rows if row.workload_id in free], resolved_at__isnull=False
        )
        # A signal that fires again clears `resolved_at`: its row is locked until the action is cancelled.
        locked = signals.order_by("fingerprint").select_for_update(no_key=True, skip_locked=True)
        still_resolved = set(locked.values_list("pk", flat=True))
        over = [row for row in rows if row.signal_id in still_resolved]
        return transition_store.store([transitions.cancel(row, Reason.SIGNAL_RESOLVED, message, actor) for row in over])


def _log_failure(action: Action, error: Exception) -> None:
    """Its row may be of a newer version of SmartOps, whose processes end it."""
    metrics.FAILED_STEPS.inc()
    log.error("action %s could not be ended", action.pk, exc_info=error)


def _log_signal_failure(signal: Signal, error: Exception) -> None:
    metrics.FAILED_STEPS.inc()
    log.error("signal %s could not be ended", signal.pk, exc_info=error)


def _expired(action: Action, actor: str) -> transition_store.Transition:
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
