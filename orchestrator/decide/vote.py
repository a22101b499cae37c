"""A person decides on an action that waits for an approval. Console and admin call this; the API cannot."""

from collections.abc import Callable
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, Case, Value, When
from django.db.models.functions import Now

from orchestrator.decide.approval import approving, has_right
from orchestrator.models import Action, ActionState, Approval, Vote, Workload, transitions
from signals.actors import Actor

MAX_REASON = 1000


class VoteRefused(Exception):  # noqa: N818 - a refusal is an answer
    """The message says why, for the person."""


def vote(
    action_id: UUID, digest: str, by: Actor, decision: Vote, reason: str, objection: Callable[[Action], str]
) -> Action:
    """Stores the decision of a person on what was shown with this digest, in place of their earlier one. Enough
    approvals make the action pending; one rejection ends it. `objection`: why the person may not decide; empty if they
    may. It is asked within the transaction. Raises VoteRefused."""
    reason = reason.strip()
    if decision is Vote.REJECT and not reason:
        raise VoteRefused("Say why you reject it. The reason is part of its timeline.")
    if len(reason) > MAX_REASON:
        raise VoteRefused(f"The reason has more than {MAX_REASON} characters.")
    with transaction.atomic():
        action = _locked(action_id)
        if problem := _problem(action, digest) or objection(action):
            raise VoteRefused(problem)
        Approval.objects.create(action=action, digest=digest, by=by, decision=decision, reason=reason)
        if decision is Vote.REJECT:
            transitions.store([transitions.reject(action, f"{by} rejected it: {reason}", by)])
            return action
        approved_by = approvers(action)
        if len(approved_by) >= required(action):
            message = f"Approved by {', '.join(approved_by)}." + (f" {by}: {reason}" if reason else "")
            details = {"digest": digest, "approved_by": approved_by}
            transitions.store([transitions.approve(action, message, details, by)])
    return action


def required(action: Action) -> int:
    """How many persons have to approve what is shown."""
    return int((action.shown or {}).get("limits", {}).get("approvals_required", 1))


def approvers(action: Action) -> list[str]:
    """Who approves what is shown now, and has the right to, in the order of their names."""
    votes = Approval.objects.filter(action=action).order_by("by", "-pk").distinct("by")
    found = approving(votes.values_list("by", "decision", "digest"), action.digest)
    return [one for one in found if has_right(one, action.workload.target)]


def _locked(action_id: UUID) -> Action:
    """The action as it is while its workload is locked: neither another person nor a reconciler can move it."""
    rows = Action.objects.filter(pk=action_id).select_related("workload")
    found = rows.first()
    if found is None:
        raise VoteRefused("There is no such action.")
    Workload.lock([found.workload.target])
    is_over = Case(When(deadline_at__lte=Now(), then=Value(True)), default=Value(False), output_field=BooleanField())
    # A reconciler ends and asks again under the lock of the workload, and claims without it: then it is not waiting.
    return rows.annotate(is_over=is_over).select_for_update(of=("self",)).get()


def _problem(action: Action, digest: str) -> str:
    """Why nobody can decide on it any more; empty if persons can."""
    if action.state != ActionState.AWAITING_APPROVAL:
        return f"It waits for no decision: its state is {action.get_state_display().lower()}. {action.message}".strip()
    if getattr(action, "is_over", False):
        return "It has expired."
    if action.digest != digest:
        return "It is not what you were shown: the plan, a limit or the rule has changed. Read what has changed."
    return ""
