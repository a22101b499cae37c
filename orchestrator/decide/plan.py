"""The plan of an action: what will be written, and to which version of which object."""

from orchestrator.actions import HANDLERS
from orchestrator.k8s.types import Deployment
from orchestrator.models import Action, transitions
from signals.proposals import PROPOSAL_TYPES


def plan(action: Action, live: Deployment, actor: str) -> transitions.Transition:
    """In the transaction of the decision that allows it."""
    proposal = action.proposal
    change = HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk))
    desired = PROPOSAL_TYPES[proposal.type].replicas(proposal.params, live.replicas)
    increase = 0 if desired is None else max(0, desired - live.replicas)
    return transitions.plan(action, live, change, increase, actor)
