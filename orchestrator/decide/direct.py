"""Direct actions: somebody asks through the API, and is told at once what stands against it."""

from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from guardrails.evaluate import decide
from guardrails.types import Allow, Defer, Deny, Ignore, Inputs, PolicyAnswer
from orchestrator import metrics
from orchestrator.decide.facts import ask_policy, load_history
from orchestrator.k8s.target import UNOBSERVED
from orchestrator.models import Action, Workload
from orchestrator.models import Decision as DecisionRecord
from signals.lib import tracing
from signals.types import Proposal


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    def __init__(self, decision: Defer | Deny | Ignore) -> None:
        super().__init__(decision.message)
        self.decision = decision


class KeyReused(Exception):  # noqa: N818
    """The idempotency key belongs to another request."""


def admit_direct(
    proposal: Proposal, requested_by: str, *, idempotency_key: str | None = None, request_digest: str = ""
) -> Action:
    """The pending action, which a reconciler will look at again before it acts; for a repeated key the first one."""
    earlier = _earlier(requested_by, idempotency_key, request_digest)
    if earlier is not None:
        return earlier
    try:
        with tracing.step("admit"):
            policy = ask_policy(proposal, requested_by, UNOBSERVED)
            return _admit(proposal, requested_by, policy, idempotency_key, request_digest)
    except IntegrityError as error:  # the same key for another target, at the same moment
        if not isinstance(error.__cause__, UniqueViolation) or idempotency_key is None:
            raise
        raise KeyReused(idempotency_key) from error


def _admit(
    proposal: Proposal,
    requested_by: str,
    policy: PolicyAnswer | None,
    idempotency_key: str | None,
    request_digest: str,
) -> Action:
    with transaction.atomic():
        workload = Workload.lock(proposal.target)
        earlier = _earlier(requested_by, idempotency_key, request_digest)  # an equal request held the lock before us
        if earlier is not None:
            return earlier
        known = load_history(workload, proposal.type)
        facts = known.facts(proposal, UNOBSERVED, policy)
        inputs = Inputs(now=known.now, facts=facts, limits=known.limits, proposal=proposal)
        decision = decide(inputs)
        if isinstance(decision, Allow):
            action = Action.propose(
                proposal,
                workload,
                requested_by,
                idempotency_key=idempotency_key,
                request_digest=request_digest,
            )
            DecisionRecord.record("admit", inputs, decision, action=action)
            return action
        DecisionRecord.record("admit", inputs, decision)
    metrics.DIRECT_REFUSALS.labels(proposal.type.lower(), decision.reason).inc()
    raise Refused(decision)


def _earlier(requested_by: str, idempotency_key: str | None, request_digest: str) -> Action | None:
    if idempotency_key is None:
        return None
    action = Action.objects.filter(requested_by=requested_by, idempotency_key=idempotency_key).first()
    if action is not None and action.request_digest != request_digest:
        raise KeyReused(idempotency_key)
    return action
