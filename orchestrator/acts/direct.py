"""Direct actions of people: the same path as `/v1/k8s/*`, with the actor user:NAME."""

from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot
from orchestrator.decide.direct import KeyReused, Refused, admit_direct, digest_of_request
from signals.actors import Actor
from signals.proposals import PROPOSAL_TYPES
from signals.types import Proposal


def request(proposal: Proposal, by: Actor, *, key: str | None = None) -> Outcome:
    """A pending action, which a reconciler checks again before its write. `key`: repeated with the same key, it is one
    action."""
    if problem := PROPOSAL_TYPES[proposal.type].problem(proposal.params):
        return NotDone(WhyNot.INVALID, problem)
    try:
        action = admit_direct(proposal, by, idempotency_key=key, request_digest=digest_of_request(proposal))
    except Refused as refused:
        return NotDone(WhyNot.REFUSED, refused.decision.message, decision=refused.decision)
    except KeyReused:
        return NotDone(WhyNot.INVALID, "This form was sent before with other values. Load it again.")
    change = PROPOSAL_TYPES[proposal.type].describe(proposal.params)
    what = "The dry run of" if proposal.dry_run else "The action"
    message = f"{what} “{change}” on {proposal.target} is requested."
    if overridden := action.details.get("overrides"):
        message += f" It takes the place of action {overridden}, which was not applied."
    return Done(message, action)
