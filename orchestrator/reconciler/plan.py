"""The intent: what will be written, to which version of which object."""

from guardrails.checks.limits import scale_increase
from guardrails.types import Facts
from orchestrator.actions import HANDLERS
from orchestrator.actions.patch import PatchForbidden
from orchestrator.k8s.types import Deployment
from orchestrator.models import Action
from signals.reasons import Reason


def record_plan(action: Action, live: Deployment, facts: Facts, actor: str) -> None:
    """In the transaction of the decision that allows it. Cancels the action where the API would refuse its patch."""
    proposal = action.proposal
    try:
        change = HANDLERS[proposal.type].plan(proposal, live, str(action.pk))
    except PatchForbidden as refusal:
        action.cancel(Reason.PATCH_FORBIDDEN, str(refusal), actor)
    else:
        action.plan(live, change, scale_increase(proposal, facts), actor)
