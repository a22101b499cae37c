"""Verb 4: what got stuck is due again. Queries of the loop, never queued work: every state has a deadline, by the
database's clock, and this is where it ends."""

from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from orchestrator import metrics
from orchestrator.models import Action, ActionState, Workload
from signals.lib.statements import LostRace
from signals.models import Signal, SignalState
from signals.reasons import Reason

FORGOTTEN_AFTER = timedelta(days=1)


def rescue(cluster: str, actor: str, held: Collection[UUID] = ()) -> list[Action]:
    """Takes over the actions whose holder went silent, and returns them for `execute` to resolve. `held` are those that
    this very process is still at, slow as it may be."""
    silent = Action.objects.filter(cluster=cluster, state=ActionState.APPLYING, lease_until__lte=Now())
    silent = silent.exclude(pk__in=list(held))
    taken = []
    for action in silent.select_related("workload", "signal"):
        with suppress(LostRace):
            action.reclaim(actor)
            metrics.TAKEOVERS.inc()
            taken.append(action)
    return taken


def expire(actor: str) -> None:
    """Ends what nobody took up in time, of whatever cluster: it may have no reconciler at all."""
    over = Action.objects.filter(deadline_at__lte=Now(), ambiguous=False, state=ActionState.PENDING)
    unreviewed = Action.objects.filter(deadline_at__lte=Now(), state=ActionState.NEEDS_REVIEW)
    for action in (over | unreviewed).select_related("workload"):
        with suppress(LostRace):
            if action.state == ActionState.NEEDS_REVIEW:
                action.review_expired(actor)
            else:
                action.cancel(Reason.ACTION_EXPIRED, action.message or "No reconciler took it up in time.", actor)
    forgotten = Signal.objects.filter(state=SignalState.PENDING, last_seen_at__lte=Now() - FORGOTTEN_AFTER)
    for signal in forgotten:
        with suppress(LostRace):
            signal.deny(Reason.SIGNAL_EXPIRED, "No reconciler took it up within a day.")


def cancel_resolved(cluster: str, actor: str) -> None:
    """The trouble is over before we acted: what has not been applied yet is cancelled. An ambiguous action is not: its
    next claim looks first."""
    unapplied = Action.objects.filter(
        cluster=cluster,
        state__in=[ActionState.PENDING, ActionState.AWAITING_APPROVAL],
        ambiguous=False,
        signal__resolved_at__isnull=False,
    )
    for action in unapplied.select_related("workload", "signal"):
        with suppress(LostRace), transaction.atomic():
            Workload.lock(action.workload.target)
            over = Signal.objects.filter(actions=action, resolved_at__isnull=False).select_for_update(of=("self",))
            if over.first() is not None:  # else it began again while we came
                action.cancel(Reason.SIGNAL_RESOLVED, "The trouble was over before the action was applied.", actor)
