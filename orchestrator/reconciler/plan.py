"""The intent: what will be written, to which version of which object."""

from orchestrator.actions import HANDLERS
from orchestrator.k8s.types import Deployment
from orchestrator.models import Action
from signals.proposals import scale_increase


def record_plan(action: Action, live: Deployment, actor: str) -> None:
    """In the transaction of the decision that allows it."""
    proposal = action.proposal
    change = HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk))
    action.plan(live, change, scale_increase(proposal, live.replicas), actor)
