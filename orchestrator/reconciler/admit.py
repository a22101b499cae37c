"""Verb 1: a due signal becomes a decision and, where everything allows it, an action with its plan. No network within
its transaction; the workload's row is the lock under which the decision and its reservation are one."""

from uuid import UUID

from django.db import connection, transaction

from guardrails.evaluate import decide
from guardrails.models import effective_limits
from guardrails.types import Facts, Inputs, Judgement, Outcome
from orchestrator import metrics
from orchestrator.decide.facts import ask_policy, load_history
from orchestrator.k8s.events import KubernetesEvent
from orchestrator.k8s.target import Observe, TargetState
from orchestrator.models import Action, Decision, Workload
from orchestrator.publish.events import after_admission
from orchestrator.reconciler.plan import record_plan
from signals.lib import tracing
from signals.lib.clock import database_now
from signals.lib.statements import FromNow, LostRace
from signals.mapping import Unmatched, propose
from signals.models import Signal, SignalState
from signals.reasons import Reason

MAX_ERRORS = 5
_DUE = """
    SELECT id FROM signals_signal WHERE cluster = %s AND state = 'pending' AND not_before <= statement_timestamp()
    ORDER BY not_before LIMIT %s
"""


def due(cluster: str, limit: int) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [cluster, limit])
        return [pk for (pk,) in cursor.fetchall()]


def admit(signal_id: UUID, observe: Observe, actor: str) -> tuple[Action | None, KubernetesEvent | None]:
    """The action that everything allows, already claimed and planned for the caller to execute; and what is to be told
    on the target where it is not allowed."""
    seen = Signal.due(signal_id)
    if seen is None:
        return None, None  # another reconciler had it
    with tracing.step("admit", seen.traceparent, signal=seen.pk):
        return _admit(seen, observe, actor)


def _admit(seen: Signal, observe: Observe, actor: str) -> tuple[Action | None, KubernetesEvent | None]:
    look = observe(seen.target)
    asked = propose(seen.facts(), seen.rules)
    proposal = None if isinstance(asked, Unmatched) else asked[1]
    policy = None if proposal is None else ask_policy(proposal, actor, look, seen)
    with transaction.atomic():
        # The workload before its signals, as everybody takes them. Where nothing will be reserved, nothing is locked.
        workload = None if proposal is None or look.deployment is None else Workload.lock(seen.target)
        signal = Signal.due(seen.pk, lock=True)
        if signal is None:
            return None, None  # another reconciler has it, or had it
        facts, rules = signal.facts(), signal.rules
        if propose(facts, rules) != asked:
            return None, None  # a repeat changed the signal meanwhile: it stays due, and what was asked is asked anew
        if proposal is None or workload is None:
            known = Facts(target_seen=look.seen, target=look.facts(), managed=look.managed, policy=policy)
            inputs = Inputs(database_now(), known, effective_limits(facts.target), facts, rules)
            return _record(signal, inputs, look, None, actor)
        now_known = load_history(workload, proposal.type)
        inputs = Inputs(now_known.now, now_known.facts(proposal, look, policy), now_known.limits, facts, rules)
        return _record(signal, inputs, look, workload, actor)


def _record(
    signal: Signal, inputs: Inputs, look: TargetState, workload: Workload | None, actor: str
) -> tuple[Action | None, KubernetesEvent | None]:
    judgement, action = decide(inputs), None
    match judgement.outcome:
        case Outcome.ALLOW:
            assert workload is not None
            assert look.deployment is not None
            assert judgement.proposal is not None
            action = Action.propose(judgement.proposal, workload, actor, signal=signal)
            signal.admit()
            record_plan(action, look.deployment, inputs.facts, actor)
            action.planned_under = inputs.limits
        case Outcome.DEFER:
            signal.defer(judgement.reason or "", judgement.message, not_before=judgement.until)
        case Outcome.DENY:
            signal.deny(judgement.reason or "", judgement.message)
        case Outcome.IGNORE:
            signal.ignore(judgement.reason or "", judgement.message)
    Decision.record("admit", inputs, judgement, signal=signal, action=action)
    _count(signal, judgement)
    return action, after_admission(inputs, judgement)


def _count(signal: Signal, judgement: Judgement) -> None:
    if judgement.outcome is not Outcome.DEFER:  # a deferred one is counted when it is decided on
        metrics.SIGNALS.labels(kind=signal.source).inc()
    metrics.record_use(judgement.verdicts)
    if judgement.outcome in (Outcome.DENY, Outcome.DEFER) and judgement.proposal is not None:
        metrics.GUARDRAIL_BLOCKS.labels(type=judgement.proposal.type.lower(), reason=judgement.reason).inc()


def record_failure(signal_id: UUID, error: Exception) -> None:
    """A signal that cannot be processed costs itself, never the loop: it is put off, and in the end given up with the
    error as its message."""
    signal = Signal.objects.filter(pk=signal_id, state=SignalState.PENDING).first()
    if signal is None:
        return
    message = f"{type(error).__name__}: {error}"[:1000]
    try:
        if signal.errors + 1 >= MAX_ERRORS:
            signal.fail(Reason.PROCESSING_ERROR, message)
        else:
            delay = FromNow(2**signal.errors)
            signal.defer(Reason.PROCESSING_ERROR, message, errors=signal.errors + 1, not_before=delay)
    except LostRace:
        return
