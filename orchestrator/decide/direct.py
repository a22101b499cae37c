"""Direct requests: a caller asks through the API, and learns at once what refuses the change."""

import json
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

from django.db import IntegrityError, transaction
from psycopg.errors import UniqueViolation

from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe, PolicyAnswer
from orchestrator import metrics, queries
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.decide.policy import query_policy
from orchestrator.k8s.target import UNOBSERVED
from orchestrator.models import (
    Action,
    ActionState,
    ActiveAction,
    IdempotencyKey,
    Workload,
    transition_store,
    transitions,
)
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
            policy = query_policy(proposal, UNOBSERVED)
            return _admit(proposal, policy, idempotency_key, request_digest)
    except IntegrityError as error:  # the same key for another target, at the same moment
        if not isinstance(error.__cause__, UniqueViolation) or idempotency_key is None:
            raise
        raise KeyReused(idempotency_key) from error


def digest_of_request(proposal: Proposal) -> str:
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
    with transaction.atomic():
        workload = Workload.lock([proposal.target])[proposal.target]
        # An equal request may have held the lock before.
        earlier = _earlier(proposal.requested_by, idempotency_key, request_digest)
        if earlier is not None:
            return earlier
        question = Question.of_request(proposal, policy, workload)
        decided, ended = _decide(question, proposal, workload)
        store_records([decided])
        decision = decided.decision
        if isinstance(decision, Allow | Ask | Observe):  # a reconciler reads the target, then asks or records it
            action = Action.new(
                proposal,
                workload,
                id=question.action_id,
                idempotency_key=idempotency_key,
                request_digest=request_digest,
                details={} if ended is None else {"overrides": str(ended.pk)},
            )
            queries.insert([action])
            log_transition("action", action.pk, "", action.state, target=workload, actor=action.requested_by)
            return action
    # The decision record of a refusal is committed, too.
    metrics.DIRECT_REFUSALS.labels(proposal.type.lower(), decision.reason).inc()
    raise Refused(decision)


def is_overridable(action: Action) -> bool:
    """Whether a direct action takes its place. One that another person or script has requested does not wait for
    anybody but the cluster, and is executed."""
    waits_for_persons = action.state == ActionState.AWAITING_APPROVAL
    return action.is_unwritten and (action.origin == Origin.CLOSED_LOOP or waits_for_persons)


def active_action(workload: Workload) -> Action | None:
    """The action that a request for a change of the workload meets."""
    active = ActiveAction.objects.filter(workload=workload, dry_run=False).values("action")
    return Action.of_active_months().filter(pk__in=active).select_related("workload").first()


def waits(action: Action) -> str:
    """What an active action waits for, as a sentence."""
    why = f" {action.message}".rstrip()
    match ActionState(action.state):
        case ActionState.AWAITING_APPROVAL:
            return "It waits for an approval."
        case ActionState.PENDING if action.ambiguous:
            return f"Its change may have been applied: the next attempt reads the workload first.{why}"
        case ActionState.PENDING:
            return f"It was requested by {action.requested_by}, and waits to be written.{why} Cancel it, or wait."
        case ActionState.APPLYING:
            return "A reconciler writes its change now."
        case ActionState.VERIFYING:
            return "Its change has been applied, and its rollout is being verified."
        case _:
            return "It is not known whether its change was applied: settle it first."


def _decide(question: Question, proposal: Proposal, workload: Workload) -> tuple[Decided, Action | None]:
    """The decision, and the action whose place the new one takes: in the same transaction it has ended, unwritten."""
    active = active_action(workload)
    while active is not None and is_overridable(active) and not proposal.dry_run:
        [decided] = decide([replace(question, overrides=active.pk)])
        if not isinstance(decided.decision, Allow | Ask | Observe):
            return decided, None
        if transition_store.store([_override(active, proposal, question.action_id)]):
            return decided, active
        active = active_action(workload)  # a reconciler was first: it may have planned the write
    [decided] = decide([question if active is None else replace(question, active_waits=waits(active))])
    return decided, None


def _override(active: Action, proposal: Proposal, action_id: UUID) -> transition_store.Transition:
    message = f"{proposal.requested_by} requested the direct action {action_id} of the workload."
    return transitions.cancel(active, Reason.OVERRIDDEN, message, proposal.requested_by, {"action": str(action_id)})


def _earlier(requested_by: str, idempotency_key: str | None, request_digest: str) -> Action | None:
    if idempotency_key is None:
        return None
    key = IdempotencyKey.objects.filter(requested_by=requested_by, key=idempotency_key).first()
    if key is None:
        return None
    action = Action.objects.filter(pk=key.action_id).first()
    if action is None or action.request_digest != request_digest:  # without: `retain` is dropping its month
        raise KeyReused(idempotency_key)
    return action
