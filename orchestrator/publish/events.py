"""What is told on a workload in the cluster, for whoever looks there first: the change, its failure, a refusal. Pure.

A success that was verified is not told: the Deployment says it itself.
"""

from guardrails.types import Allow, Decision, Ignore, Inputs, Outcome
from orchestrator.k8s.events import EventType, KubernetesEvent
from orchestrator.k8s.types import Deployment, WorkloadKey
from orchestrator.models import Action, ActionState
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.types import ActionType

DONE = {type_: PROPOSAL_TYPES[type_].event for type_ in ActionType}
TROUBLES = {
    ActionState.PENDING: "deferred",
    ActionState.CANCELLED: "refused",
    ActionState.FAILED: "failed",
    ActionState.TIMED_OUT: "timed out",
    ActionState.NEEDS_REVIEW: "needs a review",
}
VERDICTS = {Outcome.DENY: "refused", Outcome.DEFER: "deferred"}

# Not worth an Event: the turn will come, the need is over, the object is gone, or the cluster is not to be had.
SUPPRESSED = frozenset(
    {
        Reason.TARGET_BUSY,
        Reason.SIGNAL_RESOLVED,
        Reason.TARGET_NOT_FOUND,
        Reason.TARGET_REPLACED,
        Reason.TARGET_GONE,
        Reason.CLUSTER_UNREACHABLE,
        Reason.CLUSTER_THROTTLED,
        Reason.CONFLICT,
    }
)


def after_execution(action: Action, target: Deployment | None) -> KubernetesEvent | None:
    """What became of an action that was executed. An action that was held back before it was planned does not know its
    `target` itself."""
    uid = action.planned_uid or (target.uid if target else "")
    if action.state in (ActionState.VERIFYING, ActionState.SUCCEEDED):
        reason = DONE[ActionType(action.type)]
        return _of_action(action, uid, EventType.NORMAL, reason, _change(action), action.justification)
    return _trouble(action, uid)


def after_verification(action: Action) -> KubernetesEvent | None:
    """That an applied change came to no good end."""
    return _trouble(action, action.planned_uid)


def after_admission(inputs: Inputs, decision: Decision) -> KubernetesEvent | None:
    """That what a signal led to was refused or has to wait. As long as it waits for the same reason, it is the same
    note."""
    if isinstance(decision, Allow | Ignore) or decision.reason in SUPPRESSED:
        return None
    proposal, signal, target = decision.proposal, inputs.signal, inputs.facts.target
    if proposal is None or signal is None or target is None:
        return None
    message = f"{proposal.type} {VERDICTS[decision.outcome]} (signal {signal.id}): {decision.message}"
    key = WorkloadKey(proposal.target.namespace, proposal.target.name)
    return KubernetesEvent(key, target.uid, EventType.WARNING, decision.reason, message, signal.id)


def _trouble(action: Action, uid: str) -> KubernetesEvent | None:
    if (verdict := TROUBLES.get(ActionState(action.state))) is None:
        return None
    what = f"{action.type} {verdict}"
    return _of_action(action, uid, EventType.WARNING, action.reason, what, action.message)


def _of_action(action: Action, uid: str, type_: EventType, reason: str, what: str, why: str) -> KubernetesEvent | None:
    if not uid or action.dry_run or reason in SUPPRESSED:
        return None
    message = f"{what} (action {action.pk}, requested by {action.requested_by})"
    if why:
        message += f": {why}"  # last, for it has any length
    return KubernetesEvent(action.workload.key, uid, type_, reason, message, str(action.pk))


def _change(action: Action) -> str:
    return PROPOSAL_TYPES[ActionType(action.type)].done(action.before or {}, action.change or {})
