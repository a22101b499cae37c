"""Approve and reject: a person decides on an action that waits for an approval."""

from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Case, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.risk import Risk, acknowledgement
from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot, require_reason, too_long, unless_locked
from orchestrator.decide.approval import approving, has_right, required
from orchestrator.decide.circumstances import circumstances
from orchestrator.models import Action, ActionState, Approval, Vote, Workload, transition_store, transitions
from signals.actors import Actor

Objection = Callable[[Action], str]


def vote(
    pk: UUID, digest: str, by: Actor, decision: Vote, reason: str, objection: Objection, acknowledged: str = ""
) -> Outcome:
    """Stores the decision of a person on what was shown with this digest, in place of their earlier one. Enough
    approvals make the action pending; one rejection ends it. `objection`: why the person may not decide; empty if they
    may. It is asked within the transaction. `acknowledged`: of an approval with a high risk, the `acknowledgement` of
    what the person was shown (guardrails/risk.py)."""
    if decision is Vote.REJECT and (missing := require_reason(reason, "to reject the action")) is not None:
        return missing
    if (long := too_long(reason)) is not None:
        return long

    def act() -> Outcome:
        with transaction.atomic():
            action = _open(pk, digest, objection)
            if isinstance(action, NotDone):
                return action
            found = circumstances(action, timezone.now()).risks if decision is Vote.APPROVE else ()
            if refusal := _unacknowledged(acknowledged, digest, found):
                return refusal
            Approval.objects.create(
                action=action,
                digest=digest,
                by=by,
                decision=decision,
                reason=reason.strip(),
                acknowledged=[one.text for one in found],
            )
            return _count(action, by, decision, reason.strip())

    return unless_locked(act, f"action {pk}")


def rehearse(pk: UUID, digest: str, by: Actor, objection: Objection) -> Outcome:
    """Requests a dry run of what is shown with this digest: a reconciler makes it, and the action continues to wait.
    The last one that was requested counts."""

    def act() -> Outcome:
        with transaction.atomic():
            action = _open(pk, digest, objection)
            if isinstance(action, NotDone):
                return action
            Action.objects.filter(pk=pk).update(rehearsal={"digest": digest, "by": by, "done": False})
        return Done(f"The API server tries {action} without storing it. The result is shown here in a moment.", action)

    return unless_locked(act, f"action {pk}")


def vote_refusal(action: Action, digest: str) -> NotDone | None:
    """Why nobody can decide on what was shown with this digest."""
    if action.state != ActionState.AWAITING_APPROVAL:
        state = ActionState(action.state).label.lower()
        return NotDone(WhyNot.STATE, f"{action} waits for no decision: it is {state}. {action.message}".strip())
    if getattr(action, "is_over", False):
        return NotDone(WhyNot.STATE, f"The time to decide on {action} is over: it has expired.")
    if action.digest != digest:
        message = "This is not what you were shown: the workload, a limit or the rule has changed since. Read it again."
        return NotDone(WhyNot.CHANGED, message)
    return None


def _unacknowledged(acknowledged: str, digest: str, found: Sequence[Risk]) -> NotDone | None:
    wanted = acknowledgement(digest, found)
    if acknowledged == wanted or not found:
        return None
    why = "; ".join(one.name for one in found)
    if not acknowledged:
        return NotDone(WhyNot.RISK, f"The risk is high: {why}. Acknowledge it to approve the action.")
    return NotDone(
        WhyNot.RISK, f"The risk is not what you acknowledged. Now it is: {why}. Read and acknowledge it again."
    )


def approvers(action: Action) -> list[str]:
    """Who approves what is shown now, and has the right to, in the order of their names."""
    votes = Approval.objects.filter(action=action).order_by("by", "-pk").distinct("by")
    found = approving(votes.values_list("by", "decision", "digest"), action.digest)
    return [one for one in found if has_right(one, action.workload.target)]


def _count(action: Action, by: Actor, decision: Vote, reason: str) -> Outcome:
    if decision is Vote.REJECT:
        transition_store.store([transitions.reject(action, f"{by} rejected it: {reason}", by)])
        return Done(f"{action} is rejected. Nothing is written.", action)
    approved_by, wanted = approvers(action), required(action)
    if len(approved_by) < wanted:
        return Done(f"You approved {action}. It has {len(approved_by)} of {wanted} approvals.", action)
    message = f"Approved by {', '.join(approved_by)}." + (f" {by}: {reason}" if reason else "")
    details = {"digest": action.digest, "approved_by": approved_by}
    transition_store.store([transitions.approve(action, message, details, by)])
    return Done(f"{action} is approved. A reconciler checks it once more, and executes it.", action)


def _open(pk: UUID, digest: str, objection: Objection) -> Action | NotDone:
    """The locked action, if it waits for a decision on what has this digest, and the person may decide."""
    action = _locked(pk)
    if isinstance(action, NotDone):
        return action
    if refusal := vote_refusal(action, digest):
        return refusal
    if problem := objection(action):
        return NotDone(WhyNot.REFUSED, problem)
    return action


def _locked(pk: UUID) -> Action | NotDone:
    """The action as it is while its workload is locked: neither another person nor a reconciler can move it."""
    rows = Action.objects.filter(pk=pk).select_related("workload")
    found = rows.first()
    if found is None:
        return NotDone(WhyNot.GONE, f"There is no action {pk}.")
    Workload.lock_rows({found.workload_id})
    is_over = Case(When(deadline_at__lte=Now(), then=Value(True)), default=Value(False), output_field=BooleanField())
    # A reconciler asks again and ends it under the lock of the workload. It claims without it: then nothing waits.
    return rows.annotate(is_over=is_over).select_for_update(of=("self",)).get()
