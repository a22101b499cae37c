"""Verb 4: what got stuck is due again. Queries of the loop, never queued work: every state has a deadline, by the
database's clock, and this is where it ends."""

from django.db.models.functions import Now

from guardrails.reasons import Reason
from orchestrator.models import Action, ActionState
from signals.models import LostRace


def rescue(cluster: str, actor: str) -> list[Action]:
    """Takes over the actions whose holder went silent, and returns them for `execute` to resolve."""
    silent = Action.objects.filter(cluster=cluster, state=ActionState.APPLYING, lease_until__lte=Now())
    taken = []
    for action in silent.select_related("workload", "signal"):
        try:
            action.take_over(actor)
        except LostRace:
            continue
        taken.append(action)
    return taken


def expire(actor: str) -> None:
    """Ends what nobody took up in time, of whatever cluster: it may have no reconciler at all."""
    over = Action.objects.filter(deadline_at__lte=Now(), ambiguous=False, state=ActionState.PENDING)
    unreviewed = Action.objects.filter(deadline_at__lte=Now(), state=ActionState.NEEDS_REVIEW)
    for action in (over | unreviewed).select_related("workload"):
        try:
            if action.state == ActionState.NEEDS_REVIEW:
                action.review_expired(actor)
            else:
                action.cancel(Reason.ACTION_EXPIRED, action.message or "No reconciler took it up in time.", actor)
        except LostRace:
            continue


def withdraw(cluster: str, actor: str) -> None:
    """The trouble is over before we acted: what has not been applied yet is cancelled."""
    unapplied = Action.objects.filter(
        cluster=cluster,
        state__in=[ActionState.PENDING, ActionState.AWAITING_APPROVAL],
        ambiguous=False,
        signal__resolved_at__isnull=False,
    )
    for action in unapplied.select_related("workload"):
        try:
            action.cancel(Reason.SIGNAL_RESOLVED, "The trouble was over before the action was applied.", actor)
        except LostRace:
            continue
