"""The plan of an action: what will be written, and to which version of which object."""

from typing import Any

from guardrails.types import Allow, Warned
from orchestrator.actions import HANDLERS
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, transitions
from signals.proposals import scale_decrease, scale_increase


def plan(action: Action, live: WorkloadObject, decision: Allow, actor: str) -> transitions.Transition:
    """In the transaction of the decision that allows it."""
    proposal = action.proposal
    change = HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk))
    return transitions.plan(
        action,
        live,
        change,
        scale_increase(proposal, live.replicas),
        actor,
        scale_decrease=scale_decrease(proposal, live.replicas),
        warnings=_warnings(decision),
    )


def keep_plan(action: Action, live: WorkloadObject, decision: Allow, actor: str) -> transitions.Transition:
    """The same change again. What it is warned of may have changed."""
    return transitions.keep_plan(action, live, actor, warnings=_warnings(decision))


def _warnings(decision: Allow) -> list[dict[str, Any]]:
    return [
        {"guardrail": one.guardrail, "reason": one.reason, "message": one.message, "details": dict(one.details)}
        for one in decision.verdicts
        if isinstance(one, Warned)
    ]
