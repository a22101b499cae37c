"""The pure half of each action type, one module each; orchestrator/actions has the acting half.

Guardrails, rules, API, console and Kubernetes Events use these modules, and do not distinguish types themselves.
"""

from collections.abc import Mapping

from signals.proposals import patch, restart, scale
from signals.proposals.images import Images, Irreversible
from signals.proposals.paths import REPLICAS, TEMPLATE
from signals.proposals.types import Params, ProposalType
from signals.types import ActionType, Proposal

PROPOSAL_TYPES: Mapping[ActionType, ProposalType] = {
    ActionType.SCALE: scale,
    ActionType.RESTART: restart,
    ActionType.PATCH: patch,
}


def desired_replicas(proposal: Proposal, current: int | None) -> int | None:
    """The number of replicas that the proposal leads to. None if it leaves it alone, or if it is relative and `current`
    is unknown."""
    return PROPOSAL_TYPES[proposal.type].replicas(proposal.params, current)


def scale_increase(proposal: Proposal, current: int) -> int:
    """How many replicas the proposal adds to the `current` ones: 0 or more."""
    desired = desired_replicas(proposal, current)
    return 0 if desired is None else max(0, desired - current)


def scale_decrease(proposal: Proposal, current: int) -> int:
    """How many replicas the proposal removes from the `current` ones: 0 or more."""
    desired = desired_replicas(proposal, current)
    return 0 if desired is None else max(0, current - desired)


def sets_replicas(proposal: Proposal) -> bool:
    return REPLICAS in PROPOSAL_TYPES[proposal.type].fields(proposal.params)


def inverse(type_: ActionType, change: Params, images: Images, prefixes: tuple[str, ...] = ()) -> Params | Irreversible:
    """The parameters of a proposal of the same type that puts the changed fields back. `prefixes` are those of names
    that the installation allows in patches."""
    proposal_type = PROPOSAL_TYPES[type_]
    params = proposal_type.inverse(change, images)
    if isinstance(params, Irreversible):
        return params
    refused = proposal_type.refusal(params, prefixes)
    return Irreversible(refused) if refused else params


def changes_template(type_: ActionType, params: Params) -> bool:
    """Whether the change replaces pods: it is one of the pod template."""
    return any(field.startswith(TEMPLATE) for field in PROPOSAL_TYPES[type_].fields(params))
