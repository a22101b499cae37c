"""Direct requests: a caller asks through the API, and learns at once what refuses the change."""

import json
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from psycopg.errors import UniqueViolation

from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe, PolicyAnswer
from orchestrator import metrics, queries
from orchestrator.decide.decision import Question, decide, store_records
from orchestrator.decide.policy import ask_policy
from orchestrator.k8s.target import UNOBSERVED
from orchestrator.models import Action, ActionState, ActiveAction, IdempotencyKey, Phase, Workload, transitions
from signals.actors import Actor
from signals.lib import tracing
from signals.lib.transition_log import log_transition
from signals.reasons import Reason
from signals.types import Origin, Proposal


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
    """Equal for equivalent requests, of the API and of the console."""
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
        waits = None if proposal.dry_run else _overridable(workload)
        question = Question(Phase.ADMIT, action_id, proposal.target, UNOBSERVED, proposal, policy, workload)
        [decided] = decide([question if waits is None else replace(question, overrides=waits.pk)])
        if waits is not None and isinstance(decided.decision, Allow | Ask | Observe):
            overridden = transitions.store([_override(waits, proposal, action_id)])
            if not overridden:  # a reconciler has just claimed it
                [decided] = decide([question])
        store_records([decided])
        decision = decided.decision
        if isinstance(decision, Allow | Ask | Observe):  # a reconciler reads the target, then asks or records it
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


def _overridable(workload: Workload) -> Action | None:
    """The action of the workload that waits, and of which no write is under way. Another direct action that is about to
    be executed is not overridden."""
    closed_loop = Q(origin=Origin.CLOSED_LOOP, ambiguous=False)
    waits = Q(state=ActionState.AWAITING_APPROVAL) | closed_loop & Q(state=ActionState.PENDING)
    active = ActiveAction.objects.filter(workload=workload).values("action")
    return Action.recent().filter(waits, pk__in=active).select_related("workload").first()


def _override(waits: Action, proposal: Proposal, action_id: UUID) -> transitions.Transition:
    message = f"{proposal.requested_by} requested the direct action {action_id} of the workload."
    return transitions.cancel(waits, Reason.OVERRIDDEN, message, proposal.requested_by, {"action": str(action_id)})


def _earlier(requested_by: str, idempotency_key: str | None, request_digest: str) -> Action | None:
    if idempotency_key is None:
        return None
    key = IdempotencyKey.objects.filter(requested_by=requested_by, key=idempotency_key).first()
    action = None if key is None else Action.objects.get(pk=key.action_id)
    if action is not None and action.request_digest != request_digest:
        raise KeyReused(idempotency_key)
    return action
