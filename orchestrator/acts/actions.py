"""Acts on one action: settle, cancel, retry.

`*_refusal` say whether an act is possible on an action as it was read, for buttons and for the act itself. The act then
compares and sets: a process or a person that is first wins, and the other one is informed of what has become of it.
"""

from uuid import UUID

from guardrails.models import effective_limits
from orchestrator.acts.direct import request
from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot, require_reason, too_long, unless_locked
from orchestrator.models import FINAL, Action, ActionState, transition_store, transitions
from signals.actors import Actor
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal

CANCELLABLE = (ActionState.PENDING, ActionState.AWAITING_APPROVAL)


def settle(pk: UUID, applied: bool, by: Actor, reason: str) -> Outcome:
    """A person says whether the change of an action that needs a review was applied. If it was, the action counts in
    the limits from now on, and its cooldown runs. Otherwise it is cancelled."""
    if (missing := require_reason(reason, "to settle the action")) is not None:
        return missing

    def act() -> Outcome:
        action = _find(pk)
        if isinstance(action, NotDone):
            return action
        if (refusal := settle_refusal(action)) is not None:
            return refusal
        result = "applied" if applied else "not applied"
        message = f"{by} marked the change as {result}: {reason}"
        limits = effective_limits(action.workload.target)
        if not transition_store.store([transitions.reviewed(action, applied, message, limits, by)]):
            return _overtaken(pk)
        return Done(f"{action} is settled: the change is marked as {result}.", action)

    return unless_locked(act, f"action {pk}")


def settle_refusal(action: Action) -> NotDone | None:
    if action.state != ActionState.NEEDS_REVIEW:
        return NotDone(WhyNot.STATE, f"{action} does not need a review: it is {_state(action)}.")
    return None


def cancel(pk: UUID, by: Actor, reason: str = "") -> Outcome:
    """Ends an action that waits. Its signal closes with it: the next report of the problem is decided on anew."""
    if (long := too_long(reason)) is not None:
        return long

    def act() -> Outcome:
        action = _find(pk)
        if isinstance(action, NotDone):
            return action
        if (refusal := cancel_refusal(action)) is not None:
            return refusal
        message = f"{by} cancelled the action: {reason}" if reason.strip() else f"{by} cancelled the action."
        if not transition_store.store([transitions.cancel(action, Reason.CANCELLED, message, by)]):
            return _overtaken(pk)
        return Done(f"{action} is cancelled. Its change was not applied.", action)

    return unless_locked(act, f"action {pk}")


def cancel_refusal(action: Action) -> NotDone | None:
    if action.state not in CANCELLABLE:
        return NotDone(WhyNot.STATE, f"{action} is {_state(action)}. {_instead(action)}")
    if action.ambiguous:
        message = (
            f"An attempt of {action} was not answered: its change may have been applied, or a copy of it may still be. "
            "The next attempt reads the workload first and records what it finds. If that fails, the action needs a "
            "review."
        )
        return NotDone(WhyNot.AMBIGUOUS, message)
    return None


def retry(pk: UUID, by: Actor, reason: str = "", *, key: str | None = None) -> Outcome:
    """Requests the same change again, as a direct action of the person. `key`: repeated with the same key, it is one
    action. The guardrails decide on it as on every direct action."""
    if (long := too_long(reason)) is not None:
        return long
    action = _find(pk)
    if isinstance(action, NotDone):
        return action
    if (refusal := retry_refusal(action)) is not None:
        return refusal
    return request(retry_proposal(action, reason), by, key=key)


def retry_refusal(action: Action) -> NotDone | None:
    if action.state not in FINAL:
        return NotDone(WhyNot.STATE, f"{action} is {_state(action)}: it has not ended yet.")
    if action.state == ActionState.SUCCEEDED:
        return NotDone(WhyNot.STATE, f"{action} has succeeded. Request a new action on its workload instead.")
    return None


def retry_proposal(action: Action, reason: str = "") -> Proposal:
    """What a retry requests: the change as it was planned, as it may have been applied."""
    origin = f"Retry of action {action.pk}"
    return Proposal(
        type=ActionType(action.type),
        target=action.workload.target,
        origin=Origin.DIRECT,
        params=PROPOSAL_TYPES[ActionType(action.type)].repeated(action.params, action.change or {}),
        reason=f"{origin}: {reason}" if reason.strip() else origin,
        dry_run=action.dry_run,
        verify=action.verify,
    )


def _find(pk: UUID) -> Action | NotDone:
    found = Action.objects.select_related("workload").filter(pk=pk).first()
    return found or NotDone(WhyNot.GONE, f"There is no action {pk}.")


def _overtaken(pk: UUID) -> NotDone:
    action = Action.objects.select_related("workload").get(pk=pk)
    message = f"{action.moved_by} was first: {action} is {_state(action)}. {action.message}".strip()
    return NotDone(WhyNot.CHANGED, f"Nothing was changed. {message}")


def _state(action: Action) -> str:
    return str(ActionState(action.state).label).lower()


def _instead(action: Action) -> str:
    match ActionState(action.state):
        case ActionState.APPLYING:
            return "A reconciler writes its change now. Wait for the outcome."
        case ActionState.VERIFYING:
            return "Its change has been applied. To put the fields back, undo it when it has ended."
        case ActionState.NEEDS_REVIEW:
            return "Its change may have been applied. Settle it instead."
        case _:
            return "It has ended."
