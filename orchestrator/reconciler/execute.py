"""Verb 2: a claimed action becomes at most one change in the cluster.

Look → plan (own transaction) → write (no transaction) → record (own transaction). The first plan of a signal's action
was made with its admission, and is written at once. Whatever the answer, the next look says where we stand;
`resolve.next_step` decides. Every transition is a compare-and-set on our epoch: LostRace means that somebody took the
action over, and everything from there is theirs.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from random import uniform

from django.db import DatabaseError, transaction

from guardrails.checks.answers import RECHECK
from guardrails.evaluate import decide
from guardrails.models import effective_limits
from guardrails.types import Allow, Defer, Deny, Ignore, Inputs
from orchestrator import metrics
from orchestrator.actions import HANDLERS
from orchestrator.decide.facts import ask_policy, load_history
from orchestrator.k8s import errors
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.target import Observe, TargetState
from orchestrator.k8s.types import Deployment, Preconditions
from orchestrator.models import FINAL, Action, ActionState, Workload
from orchestrator.models import Decision as DecisionRecord
from orchestrator.reconciler.plan import record_plan
from orchestrator.reconciler.resolve import Plan, Step, next_step
from signals.lib.statements import LostRace
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType

log = logging.getLogger(__name__)

MAX_WRITES = 5  # within one claim
MAX_ATTEMPTS = 10  # claims that the cluster answered
MAX_CLAIMS = 50
MAX_DELAY = 60.0


def execute(action: Action, cluster: Cluster, observe: Observe, actor: str) -> None:
    """`observe` tells what stands around the target: whether its namespace is managed, who scales it. The target itself
    is read from the API server."""
    if action.state in FINAL:
        return None  # refused as soon as it was admitted
    try:
        if not action.planned_resource_version and not observe(action.workload.target).managed:
            message = f"SmartOps does not manage the namespace “{action.workload.namespace}”."
            return action.cancel(Reason.NAMESPACE_NOT_MANAGED, message, actor)
        if action.attempts > MAX_CLAIMS:  # it has ended the processes that held it
            return _give_up(action, Reason.RETRIES_EXHAUSTED, f"After {action.attempts} attempts.", actor)
        return _execute(action, cluster, observe, actor)
    except LostRace:
        return None
    except DatabaseError:
        raise  # nobody's fault: the lease ends, and rescue resolves it
    except Exception as error:
        metrics.FAILED_STEPS.inc()
        log.exception("action %s could not be executed", action.pk)
        action.ambiguous = action.ambiguous or bool(action.planned_resource_version)  # it may have come after the write
        with suppress(LostRace):
            _give_up(action, Reason.PROCESSING_ERROR, f"{type(error).__name__}: {error}", actor)


def _execute(action: Action, cluster: Cluster, observe: Observe, actor: str) -> None:
    unanswered: errors.Unknown | None = None
    for attempt in range(MAX_WRITES):
        # What was just planned with its admission needs no look: a target that is not as it was seen refuses the write.
        fresh = attempt == 0 and action.planned_under is not None
        if not fresh and not _prepare(action, cluster, observe, actor):
            return None
        try:
            return _record(action, _write(cluster, action), actor)
        except errors.Conflict:
            unanswered = None  # this copy did not apply; the next look says what came between
        except errors.Unknown as error:
            action.ambiguous, unanswered = True, error  # it may have applied: the next look says whether it did
        except (errors.Throttled, errors.Unreached) as error:
            return _put_off(action, error, actor)
        except errors.Refused as error:
            return _refused(action, error, actor)
    if unanswered is not None:
        return _put_off(action, unanswered, actor)
    return _retry(action, Reason.CONFLICT, "Others keep changing the target.", actor)


def _prepare(action: Action, cluster: Cluster, observe: Observe, actor: str) -> bool:
    """Looks where we stand. Whether there is a plan now that may be written; if not, nothing is left to do here."""
    try:
        live = _look(cluster, action)
    except errors.ClusterError as error:
        _put_off(action, error, actor)
        return False
    match next_step(_plan_of(action), live):
        case Step.NOT_FOUND:
            action.cancel(Reason.TARGET_NOT_FOUND, f"There is no Deployment {action.workload}.", actor)
        case Step.GONE:
            action.fail(Reason.TARGET_GONE, f"{action.workload} was deleted meanwhile.", actor)
        case Step.REPLACED:
            message = f"{action.workload} was deleted and created anew; the new object was not touched."
            action.cancel(Reason.TARGET_REPLACED, message, actor)
        case Step.REVIEW:
            message = "An attempt went unanswered, and somebody changed the target since: did our change land?"
            action.review(message, actor)
        case Step.APPLIED:
            assert live is not None
            _record(action, live, actor)
        case Step.PLAN | Step.REFRESH | Step.RESEND as step:
            return _plan(action, replace(observe(action.workload.target), deployment=live), step, actor)
    return False


def _look(cluster: Cluster, action: Action) -> Deployment | None:
    try:
        return cluster.get_deployment_status(action.workload.key)
    except errors.NotFound:
        return None


def _plan_of(action: Action) -> Plan:
    return Plan(
        str(action.pk), action.planned_uid, action.planned_resource_version, action.planned_generation, action.ambiguous
    )


def _plan(action: Action, look: TargetState, step: Step, actor: str) -> bool:
    """Guardrails, episode and freeze once more before each write, now that the target is known; then the intent is
    committed, or the action held back: False."""
    live, proposal = look.deployment, action.proposal
    assert live is not None
    signal = action.signal and Signal.objects.get(pk=action.signal.pk)
    policy = ask_policy(proposal, action.requested_by, look, signal)
    with transaction.atomic():
        workload = Workload.lock(proposal.target)
        known = load_history(workload, proposal.type, own=action)
        inputs = Inputs(
            now=known.now,
            facts=known.facts(proposal, look, policy),
            limits=known.limits,
            signal=signal.facts() if signal else None,
            proposal=proposal,
        )
        decision = decide(inputs)
        DecisionRecord.record("plan", inputs, decision, signal=action.signal, action=action)
        if not isinstance(decision, Allow):
            _hold_back(action, step, decision, inputs, actor)
        elif step is not Step.PLAN:
            action.keep_plan(live, actor)
        else:
            record_plan(action, live, actor)
    action.planned_under = known.limits
    return action.state == ActionState.APPLYING


def _hold_back(action: Action, step: Step, decision: Defer | Deny | Ignore, inputs: Inputs, actor: str) -> None:
    reason = decision.reason
    metrics.GUARDRAIL_BLOCKS.labels(type=action.type.lower(), reason=reason).inc()
    # Where the version has not moved, an earlier copy may still win: that must not be forgotten, nor be called off.
    landing = action.ambiguous and step is Step.RESEND
    if landing and action.attempts >= MAX_ATTEMPTS:
        action.review(f"An attempt went unanswered, and no other is allowed: {decision.message}", actor)
    elif isinstance(decision, Defer) or landing:
        until = None if isinstance(decision, Ignore) else decision.until
        action.retry(reason, decision.message, until - inputs.now if until else RECHECK, actor, ambiguous=landing)
    else:
        action.cancel(reason, decision.message, actor, dict(decision.details))


def _write(cluster: Cluster, action: Action) -> Deployment:
    """One request, tried once. All that makes a copy of it harmless is in it."""
    guard = Preconditions(uid=action.planned_uid, resource_version=action.planned_resource_version)
    handler = HANDLERS[ActionType(action.type)]
    return handler.write(cluster, action.workload.key, action.change or {}, guard, str(action.pk), action.dry_run)


def _record(action: Action, written: Deployment, actor: str) -> None:
    action.applied(written, action.planned_under or effective_limits(action.workload.target), actor)


def _refused(action: Action, error: errors.Refused, actor: str) -> None:
    """The server said a final no to this copy. That says nothing of an earlier one that went unanswered."""
    if action.ambiguous:
        action.review(f"An attempt went unanswered, and the next was refused: {error.message}", actor)
    elif isinstance(error, errors.NotFound):
        action.fail(Reason.TARGET_GONE, error.message, actor)
    elif isinstance(error, errors.Forbidden):
        action.fail(Reason.CLUSTER_FORBIDDEN, error.message, actor)
    else:
        action.fail(Reason.CLUSTER_REJECTED, error.message, actor)


def _put_off(action: Action, error: errors.ClusterError, actor: str) -> None:
    """The cluster is not to be had right now, or we may not look."""
    match error:
        case errors.Throttled():
            return _retry(action, Reason.CLUSTER_THROTTLED, error.message, actor, error.retry_after)
        case errors.Forbidden() | errors.Invalid() if not action.ambiguous:
            return _refused(action, error, actor)
        case _:
            return _retry(action, Reason.CLUSTER_UNREACHABLE, error.message, actor)


def _retry(action: Action, reason: Reason, message: str, actor: str, after: float | None = None) -> None:
    """Exponential backoff with jitter; the server's Retry-After wins, within reason."""
    patient = reason is Reason.CLUSTER_UNREACHABLE and not action.ambiguous  # its deadline ends it, if nothing else
    if action.attempts >= MAX_ATTEMPTS and not patient:
        return _give_up(action, Reason.RETRIES_EXHAUSTED, f"After {action.attempts} attempts: {message}", actor)
    delay = min(MAX_DELAY, 0.25 * 2 ** min(action.attempts, 10)) * uniform(0.5, 1.0)  # noqa: S311 - jitter
    if after is not None:
        delay = min(after, 5 * MAX_DELAY)
    metrics.RETRIES.labels(type=action.type.lower(), reason=reason).inc()
    return action.retry(reason, message, timedelta(seconds=delay), actor, ambiguous=action.ambiguous)


def _give_up(action: Action, reason: Reason, message: str, actor: str) -> None:
    if action.ambiguous:
        action.review(f"Its outcome could not be learned: {message}", actor)
    else:
        action.fail(reason, message, actor)
