"""The plan of an action: what will be written, and to which version of which object."""

from orchestrator.actions import HANDLERS
from orchestrator.k8s.types import Deployment
from orchestrator.models import Action, transitions
from signals.proposals import scale_increase


def plan(action: Action, live: Deployment, actor: str) -> transitions.Transition:
    """In the transaction of the decision that allows it."""
    proposal = action.proposal
    change = HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk))
    return transitions.plan(action, live, change, scale_increase(proposal, live.replicas), actor)
