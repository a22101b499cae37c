"""Verb 1: a due signal becomes a decision and, where everything allows it, a pending action. No network within its
transaction; the workload's row is the lock under which the decision and its reservation are one."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from guardrails.evaluate import decide
from guardrails.models import effective_limits
from guardrails.reasons import Reason
from guardrails.types import Facts, Inputs, Judgement, Outcome
from orchestrator import metrics
from orchestrator.facts import Looker, ask_policy, standing
from orchestrator.k8s.events import EventNote
from orchestrator.models import Action, Decision, Workload
from orchestrator.reconciler.events import after_admission
from signals import tracing
from signals.clock import database_now
from signals.mapping import Unmatched, propose
from signals.models import LostRace, Rule, Signal, SignalState
from signals.types import Proposal, RuleSpec, SignalFacts

MAX_ERRORS = 5


def due(cluster: str, limit: int) -> list[UUID]:
    rows = Signal.objects.filter(cluster=cluster, state=SignalState.PENDING, not_before__lte=Now())
    return list(rows.order_by("not_before").values_list("pk", flat=True)[:limit])


def admit(signal_id: UUID, look_at: Looker, actor: str) -> tuple[Action | None, EventNote | None]:
    """The action that everything allows, already claimed for the caller to execute; and what is to be told on the
    target where it is not allowed."""
    seen = Signal.objects.get(pk=signal_id)
    with tracing.step("admit", seen.traceparent, signal=seen.pk):
        return _admit(seen, look_at, actor)


def _admit(seen: Signal, look_at: Looker, actor: str) -> tuple[Action | None, EventNote | None]:
    look = look_at(seen.target)
    asked = _propose(seen.facts())[1]
    proposal = None if isinstance(asked, Unmatched) else asked[1]
    policy = None if proposal is None else ask_policy(proposal, actor, look, seen)
    with transaction.atomic():
        # The workload before its signals, as everybody takes them. Where nothing will be reserved, nothing is locked.
        workload = None if proposal is None or look.deployment is None else Workload.lock(seen.target)
        rows = Signal.objects.filter(pk=seen.pk, state=SignalState.PENDING, not_before__lte=Now())
        signal = rows.select_for_update(skip_locked=True).first()
        if signal is None:
            return None, None  # another reconciler has it, or had it
        facts = signal.facts()
        rules, proposed = _propose(facts)
        if proposed != asked:
            return None, None  # a repeat changed the signal meanwhile: it stays due, and what was asked is asked anew
        if proposal is None or workload is None:
            known = Facts(target_seen=look.seen, target=look.target(proposal), managed=look.managed, policy=policy)
            inputs = Inputs(database_now(), known, effective_limits(facts.target), facts, rules)
            return _record(signal, inputs, None, actor)
        now_known = standing(workload, proposal.type)
        inputs = Inputs(now_known.now, now_known.facts(proposal, look, policy), now_known.limits, facts, rules)
        return _record(signal, inputs, workload, actor)


def _propose(facts: SignalFacts) -> tuple[tuple[RuleSpec, ...], tuple[RuleSpec, Proposal] | Unmatched]:
    rules = tuple(rule.spec() for rule in Rule.candidates(facts))
    return rules, propose(facts, rules)


def _record(
    signal: Signal, inputs: Inputs, workload: Workload | None, actor: str
) -> tuple[Action | None, EventNote | None]:
    judgement, action = decide(inputs), None
    match judgement.outcome:
        case Outcome.ALLOW:
            assert workload is not None
            assert judgement.proposal is not None
            action = Action.propose(judgement.proposal, workload, actor, signal=signal)
            action.claim(actor)
            signal.admit()
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


def stumble(signal_id: UUID, error: Exception) -> None:
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
            delay = timedelta(seconds=2**signal.errors)
            signal.defer(Reason.PROCESSING_ERROR, message, errors=signal.errors + 1, not_before=delay)
    except LostRace:
        return
