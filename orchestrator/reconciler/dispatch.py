"""Verb 2: due actions are claimed, read, checked again, and planned for their writes.

Input: pending actions that are due; the readings of claimed ones. Output: claims to read, and claims that may be
written. Side effects: a transaction for the claims, and one for all readings. The first plan of a signal's action was
made with its admission, and needs none of this.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from guardrails.checks.answers import RECHECK
from guardrails.models import effective_limits
from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe
from orchestrator import metrics
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.decide.plan import follow
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.sync import NO_DELAYS, Delays
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, ActionState, Phase, Workload, transition_store, transitions
from orchestrator.models.transition_store import Transition
from orchestrator.reconciler.batch import Locked
from orchestrator.reconciler.calls import Reading
from orchestrator.reconciler.claim import Claim, claim_free
from orchestrator.reconciler.next_step import NextStep
from orchestrator.reconciler.retry import MAX_ATTEMPTS, NextMove, exhausted, next_move, unapplied
from signals.lib.redaction import error_text
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Origin, Target

log = logging.getLogger(__name__)

WRITES = (NextStep.PLAN, NextStep.REFRESH, NextStep.RESEND)
ROLLOUT_AGAIN = 25.0  # seconds; fewer claims than MAX_CLAIMS until the deadline of an action
MAX_CLAIMS = 50  # no backoff comes to as many: an action that was claimed more often crashes its processes


def claim_due(cluster: str, limit: int, actor: str, delays: Delays = NO_DELAYS, *, direct: bool = False) -> list[Claim]:
    """Claims as many as are due. Several reconcilers share the work: each skips the rows that another one locks.
    `delays` are those of the cache. `direct`: only direct actions."""
    is_due = Action.is_past("not_before", delays)
    due = Action.recent().filter(is_due, cluster=cluster, state=ActionState.PENDING)
    if direct:
        due = due.filter(origin=Origin.DIRECT)
    messages = dict[UUID, str]()

    def claim(row: Action) -> Transition:
        messages[row.pk] = row.message
        return transitions.claim(row, actor)

    claimed = claim_free(due.order_by("not_before"), limit, claim, "not_before")
    return [Claim.of(one.action, last_message=messages[one.action.pk]) for one in claimed]


def give_up(claims: Sequence[Claim], actor: str) -> list[Transition]:
    """Ends actions that no process has brought to an end: the processes that claimed them have probably crashed."""
    message = "no process that claimed the action recorded an outcome"
    moves = [exhausted(message, one.action.attempts, one.action.ambiguous) for one in claims]
    return transition_store.store([one.follow(move, actor) for one, move in zip(claims, moves, strict=True)])


def check(readings: Sequence[Reading], actor: str, jitter: Callable[[], float]) -> list[Claim]:
    """Guardrails, signal and freezes once more before each write, now that the target has been read. The plan is
    committed, or the action ends or waits. Returns the claims that may be written."""
    with transition_store.atomic(one.claim.action for one in readings):
        asked = [one for one in readings if _may_write(one)]
        # Of all, also of those that end: locked one after the other, two processes could wait for each other.
        targets = {one.claim.action.workload.target for one in readings}
        workloads = Workload.lock_free(targets)
        if targets - workloads.keys():
            raise Locked
        signals = Signal.objects.in_bulk([one.claim.action.signal_id for one in asked if one.claim.action.signal_id])
        decided = decide([_question(one, workloads, signals) for one in asked])
        answers = dict(zip(map(id, asked), decided, strict=True))
        moves = [_transition(one, answers.get(id(one)), actor, jitter()) for one in readings]
        stored = {one.action.pk: one.to for one in transition_store.store(moves, savepoint=False)}
        store_records(answers[id(one)] for one in asked if one.claim.action.pk in stored)
    planned = {pk for pk, to in stored.items() if to == ActionState.APPLYING}
    for one in asked:
        one.claim.limits = answers[id(one)].limits
    return [one.claim for one in readings if one.claim.action.pk in planned]


def record_failure(reading: Reading, error: Exception, actor: str) -> None:
    record_claim_failure(reading.claim, error, actor)


def record_claim_failure(claim: Claim, error: Exception, actor: str) -> None:
    """Stores the error of an action that cannot be processed. If its change may have been applied, a person has to
    review it."""
    metrics.FAILED_STEPS.inc()
    log.error("action %s could not be executed", claim.action.pk, exc_info=error)
    action = Action.objects.select_related("workload").get(pk=claim.action.pk)
    if action.state != ActionState.APPLYING or action.epoch != claim.action.epoch:
        return
    message = error_text(error)
    if claim.action.ambiguous or action.planned_resource_version:  # the error may have come after the write
        transition_store.store([transitions.require_review(action, message, actor)])
    else:
        transition_store.store([transitions.fail(action, Reason.PROCESSING_ERROR, message, actor)])


def _may_write(reading: Reading) -> bool:
    return reading.error is None and reading.step in WRITES and _after_unanswered(reading, 1.0) is None


def _after_unanswered(reading: Reading, jitter: float) -> NextMove | None:
    """What follows a write that may have been applied, where the read shows that it was not: a later attempt, or the
    end after the last one. None if no write is unanswered, or if the claim begins with the read."""
    claim, action = reading.claim, reading.claim.action
    if not action.ambiguous or reading.step not in (NextStep.RESEND, NextStep.REFRESH):
        return None
    if claim.unanswered is not None:
        return next_move(claim.unanswered, action.attempts, action.ambiguous, jitter)
    return unapplied(claim.last_message, action.attempts) if action.attempts > MAX_ATTEMPTS else None


def _question(reading: Reading, workloads: dict[Target, Workload], signals: dict[Any, Signal]) -> Question:
    action = reading.claim.action
    signal = signals.get(action.signal_id)
    return Question(
        phase=Phase.PLAN,
        action_id=action.pk,
        target=action.workload.target,
        state=reading.state,
        proposal=action.proposal,
        policy=reading.policy,
        workload=workloads[action.workload.target],
        signal=None if signal is None else signal.facts(),
        asked=action if action.digest else None,
    )


def _transition(reading: Reading, decided: Decided | None, actor: str, jitter: float) -> Transition:
    claim, action, live = reading.claim, reading.claim.action, reading.state.object
    if isinstance(reading.error, ClusterError):
        return claim.follow(next_move(reading.error, action.attempts, action.ambiguous, jitter, reading=True), actor)
    if reading.error is not None:
        raise reading.error
    if (move := _after_unanswered(reading, jitter)) is not None:
        return claim.follow(move, actor)
    if decided is not None:
        return _follow(reading, decided, live, actor)
    match reading.step:
        case NextStep.NOT_FOUND:
            message = f"There is no {action.workload.target.with_kind}."
            return transitions.cancel(action, Reason.TARGET_NOT_FOUND, message, actor)
        case NextStep.GONE:
            message = f"{action.workload.target.with_kind} was deleted after the change was planned."
            return transitions.fail(action, Reason.TARGET_GONE, message, actor)
        case NextStep.REPLACED:
            name = action.workload.target.with_kind
            message = f"{name} was deleted and created again; the new object was not changed."
            return transitions.cancel(action, Reason.TARGET_REPLACED, message, actor)
        case NextStep.APPLIED if live is not None:
            limits = claim.limits or effective_limits(action.workload.target)
            return transitions.apply(action, live, limits, actor, answered=False)
    message = "A write was not answered, and the target has changed since. Compare it with the planned change."
    return transitions.require_review(action, message, actor)


def _follow(reading: Reading, decided: Decided, live: WorkloadObject | None, actor: str) -> Transition:
    action = reading.claim.action
    decision = decided.decision
    if isinstance(decision, Defer | Deny | Ignore) or (_may_be_applied(reading) and not isinstance(decision, Allow)):
        return _block(reading, decision, decided, actor)
    # No copy of an earlier plan is applied.
    if reading.step is NextStep.PLAN and action.deadline_at <= decided.inputs.now:
        message = f"It was not written by {action.deadline_at:%H:%M:%S} UTC, its deadline."
        return transitions.cancel(action, Reason.ACTION_EXPIRED, message, actor)
    assert live is not None, "a target that does not exist is denied"
    return follow(action, live, decided, actor, keep=reading.step is not NextStep.PLAN)


def _may_be_applied(reading: Reading) -> bool:
    """If the version has not changed, an earlier copy of the write may still be applied: the plan must be kept, and the
    action must neither be cancelled nor wait for an approval."""
    return reading.claim.action.ambiguous and reading.step is NextStep.RESEND


def _block(
    reading: Reading, decision: Ask | Observe | Defer | Deny | Ignore, decided: Decided, actor: str
) -> Transition:
    action, reason, message = reading.claim.action, decision.reason, decision.message
    metrics.GUARDRAIL_BLOCKS.labels(type=action.type.lower(), reason=reason).inc()
    may_be_applied = _may_be_applied(reading)
    if isinstance(decision, Defer) or may_be_applied:
        until = decision.until if isinstance(decision, Defer) else None
        wait = until - decided.inputs.now if until else RECHECK
        delay = max(0.0, wait.total_seconds())
        if reason is Reason.ROLLOUT_IN_PROGRESS:  # its end wakes signals, but not actions
            delay = min(delay, ROLLOUT_AGAIN)
        return transitions.retry(action, reason, message, delay, actor, ambiguous=may_be_applied)
    return transitions.cancel(action, reason, message, actor, decision.details)
