"""Direct requests: a caller asks through the API, and learns at once what refuses the change."""

import json
from dataclasses import replace
from hashlib import sha256

from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from guardrails.types import Allow, Defer, Deny, Ignore, PolicyAnswer
from orchestrator import metrics, queries
from orchestrator.decide.decision import Question, decide, store_records
from orchestrator.decide.policy import ask_policy
from orchestrator.k8s.target import UNOBSERVED
from orchestrator.models import Action, IdempotencyKey, Phase, Workload
from signals.actors import Actor
from signals.lib import tracing
from signals.lib.transition_log import log_transition
from signals.types import Proposal


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    def __init__(self, decision: Defer | Deny | Ignore) -> None:
        super().__init__(decision.message)
        self.decision = decision


class KeyReused(Exception):  # noqa: N818
    """The idempotency key belongs to another request."""


def admit_direct(
    proposal: Proposal, requested_by: Actor, *, idempotency_key: str | None = None, request_digest: str = ""
) -> Action:
    """The pending action, which a reconciler checks again before it writes; for a repeated key the first one. Raises
    Refused or KeyReused."""
    proposal = replace(proposal, requested_by=requested_by)
    earlier = _earlier(requested_by, idempotency_key, request_digest)
    if earlier is not None:
        return earlier
    try:
        with tracing.step("admit"):
            policy = ask_policy(proposal, UNOBSERVED)
            return _admit(proposal, policy, idempotency_key, request_digest)
    except IntegrityError as error:  # the same key for another target, at the same moment
        if not isinstance(error.__cause__, UniqueViolation) or idempotency_key is None:
            raise
        raise KeyReused(idempotency_key) from error


def digest(proposal: Proposal) -> str:
    """Equal for equivalent requests, by whatever path they come."""
    target = proposal.target
    meaning = [
        proposal.type,
        [target.cluster, target.namespace, target.kind, target.name],
        proposal.params,
        proposal.reason,
        proposal.dry_run,
        proposal.verify,
    ]
    return sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def _admit(
    proposal: Proposal,
    policy: PolicyAnswer | None,
    idempotency_key: str | None,
    request_digest: str,
) -> Action:
    action_id = Action.new_id()
    with transaction.atomic():
        workload = Workload.lock([proposal.target])[proposal.target]
        # An equal request may have held the lock before.
        earlier = _earlier(proposal.requested_by, idempotency_key, request_digest)
        if earlier is not None:
            return earlier
        question = Question(Phase.ADMIT, action_id, proposal.target, UNOBSERVED, proposal, policy, workload)
        [decided] = decide([question])
        store_records([decided])
        decision = decided.decision
        if isinstance(decision, Allow):
            action = Action.new(
                proposal,
                workload,
                id=action_id,
                idempotency_key=idempotency_key,
                request_digest=request_digest,
            )
            queries.insert([action])
            log_transition("action", action.pk, "", action.state, target=workload, actor=action.requested_by)
            return action
    # The decision record of a refusal is committed, too.
    metrics.DIRECT_REFUSALS.labels(proposal.type.lower(), decision.reason).inc()
    raise Refused(decision)


def _earlier(requested_by: str, idempotency_key: str | None, request_digest: str) -> Action | None:
    if idempotency_key is None:
        return None
    key = IdempotencyKey.objects.filter(requested_by=requested_by, key=idempotency_key).first()
    action = None if key is None else Action.objects.get(pk=key.action_id)
    if action is not None and action.request_digest != request_digest:
        raise KeyReused(idempotency_key)
    return action
