"""Verb 2: claimed actions are decided on once more, with their targets as they were just read, and get their plans.

Input: the readings of claimed actions that have arrived. Output: the claims whose plans may be written. Side effects:
one transaction for all readings. The first plan of a signal's action was made with its admission, and needs none of
this.
"""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from guardrails.checks.answers import RECHECK
from guardrails.models import effective_limits
from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe
from orchestrator import metrics
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.decide.follow import follow
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, ActionState, Workload, transition_store, transitions
from orchestrator.models.transition_store import Transition
from orchestrator.reconciler.batch import Locked
from orchestrator.reconciler.calls import Reading
from orchestrator.reconciler.claim import Claim, record_claim_failure
from orchestrator.reconciler.next_step import NextStep, later_action
from orchestrator.reconciler.retry import MAX_ATTEMPTS, NextMove, next_move, unapplied
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Target

WRITES = (NextStep.PLAN, NextStep.REFRESH, NextStep.RESEND)
ROLLOUT_AGAIN = 25.0  # seconds; fewer claims than MAX_CLAIMS until the deadline of an action


def plan(readings: Sequence[Reading], actor: str, jitter: Callable[[], float]) -> list[Claim]:
    """The guardrails once more before each write, with the signal and the target as they are now. The plan is
    committed, or the action ends or waits. Returns the claims that may be written."""
    with transition_store.atomic(one.claim.action for one in readings):
        unknown = _unknown_actions(readings)
        writable = [one for one in readings if _may_write(one) and one.claim.action.pk not in unknown]
        # Of all, also of those that end: locked one after the other, two processes could wait for each other.
        targets = {one.claim.action.workload.target for one in readings}
        workloads = Workload.lock_free(targets)
        if targets - workloads.keys():
            raise Locked
        signals = Signal.objects.in_bulk([one.claim.action.signal_id for one in writable if one.claim.action.signal_id])
        decided = decide([_question(one, workloads, signals) for one in writable])
        answers = dict(zip(map(id, writable), decided, strict=True))
        moves = [
            _transition(one, answers.get(id(one)), unknown.get(one.claim.action.pk), actor, jitter())
            for one in readings
        ]
        stored = {one.action.pk: one.to for one in transition_store.store(moves, savepoint=False)}
        store_records(answers[id(one)] for one in writable if one.claim.action.pk in stored)
    planned = {pk for pk, to in stored.items() if to == ActionState.APPLYING}
    for one in writable:
        one.claim.limits = answers[id(one)].limits
    return [one.claim for one in readings if one.claim.action.pk in planned]


def record_failure(reading: Reading, error: Exception, actor: str) -> None:
    record_claim_failure(reading.claim, error, actor)


def _unknown_actions(readings: Sequence[Reading]) -> dict[UUID, UUID]:
    """By the action that would be planned: the later one that has changed its target, and is not in the database.

    An action has its workload alone until it ends. So the database was restored from a backup in which this action had
    not ended, and it may have been written since."""
    later = {}
    for one in readings:
        action, live = one.claim.action, one.state.object
        if one.error is None and one.step is NextStep.PLAN and live is not None and not action.dry_run:
            later[action.pk] = later_action(action.pk, live)
    named = {pk: last for pk, last in later.items() if last is not None}
    known = set(Action.objects.filter(pk__in=named.values()).values_list("pk", flat=True)) if named else set()
    return {pk: last for pk, last in named.items() if last not in known}


def _may_write(reading: Reading) -> bool:
    return reading.error is None and reading.step in WRITES and _after_unanswered(reading, 1.0) is None


def _after_unanswered(reading: Reading, jitter: float) -> NextMove | None:
    """What follows a write that may have been applied, where the read shows that it was not: a later attempt, or the
    end after the last one. None if no write is unanswered, or if the claim begins with the read."""
    claim, action = reading.claim, reading.claim.action
    if not claim.ambiguous or reading.step not in (NextStep.RESEND, NextStep.REFRESH):
        return None
    if claim.unanswered is not None:
        return next_move(claim.unanswered, action.attempts, claim.ambiguous, jitter)
    return unapplied(claim.last_message, action.attempts) if action.attempts > MAX_ATTEMPTS else None


def _question(reading: Reading, workloads: dict[Target, Workload], signals: dict[Any, Signal]) -> Question:
    action = reading.claim.action
    workload, signal = workloads[action.workload.target], signals.get(action.signal_id)
    return Question.before_write(action, reading.state, workload, signal, reading.policy)


def _transition(
    reading: Reading, decided: Decided | None, unknown: UUID | None, actor: str, jitter: float
) -> Transition:
    claim, action, live = reading.claim, reading.claim.action, reading.state.object
    if isinstance(reading.error, ClusterError):
        return claim.follow(next_move(reading.error, action.attempts, claim.ambiguous, jitter, reading=True), actor)
    if reading.error is not None:
        raise reading.error
    if (move := _after_unanswered(reading, jitter)) is not None:
        return claim.follow(move, actor)
    if unknown is not None:
        message = (
            f"{action.workload.target.with_kind} was changed by the later action {unknown}, which is not in the "
            "database. If the database was restored from a backup, this action may have been executed after the "
            "backup: compare the workload with the requested change."
        )
        return transitions.require_review(action, message, actor)
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
    return reading.claim.ambiguous and reading.step is NextStep.RESEND


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
        return transitions.put_back(action, reason, message, delay, actor, ambiguous=may_be_applied)
    return transitions.cancel(action, reason, message, actor, decision.details)
