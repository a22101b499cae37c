"""Verb 4: due signals become decisions and, where everything allows it, actions with their plans.

Input: the signals that are due, and the observed state of their targets. Output: the claims of the admitted actions,
already planned, for their writes. Side effects: one transaction for the whole batch. No network call happens in it: a
target that the cache does not have is read before, and so is the answer of the policy engine (`calls.look_up`).
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from uuid import UUID

from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe
from orchestrator import metrics
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.decide.follow import follow
from orchestrator.decide.hold import hold
from orchestrator.k8s.sync import NO_DELAYS, Delays
from orchestrator.k8s.target import UNOBSERVED, ObserveTarget
from orchestrator.models import Action, ActionState, Workload, transition_store
from orchestrator.reconciler import identify
from orchestrator.reconciler.calls import Candidate
from orchestrator.reconciler.claim import Claim
from signals import transitions as signal_transitions
from signals.aliases import Alias
from signals.holds import until_it_differs
from signals.identity import alias_for
from signals.lib import tracing
from signals.lib.availability import is_repeatable
from signals.lib.partitions import generic_plan_transaction
from signals.lib.redaction import error_text
from signals.mapping import Unmatched, Waiting, propose
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import AliasSpec, Naming, NamingFacts, Proposal, Target

log = logging.getLogger(__name__)

MAX_ERRORS = 5


def due(
    cluster: str, limit: int, looking_up: Collection[UUID], observe: ObserveTarget, delays: Delays = NO_DELAYS
) -> tuple[list[Candidate], bool]:
    """The signals that have been due for longest, without those of `looking_up`; and whether more may be
    due. `delays` are those of the cache."""
    signals = Signal.due(cluster, limit, looking_up, delays)
    aliases = cache(lambda: tuple(Alias.specs()))
    found = _one_for_each_workload([_candidate(signal, observe, aliases) for signal in signals])
    return found, len(signals) == limit or len(found) < len(signals)


def any_due(cluster: str, delays: Delays) -> bool:
    """Whether a signal is due, also one that another session has locked."""
    return bool(Signal.due(cluster, 1, (), delays))


def needs_lookup(candidate: Candidate, policy_is_configured: bool) -> bool:
    """Whether its decision takes a network call: before a target is called missing, it is read from the API server."""
    if candidate.error is not None:
        return False
    if candidate.signal.needs_identification:
        return candidate.naming is None
    if candidate.proposal is None or candidate.state.unreadable or candidate.naming is not None:
        return False
    return _is_unknown(candidate) or policy_is_configured


def proposal(signal: Signal) -> Proposal | None:
    """What the first rule that holds proposes; None if none does, or if the target is yet to be identified."""
    if signal.needs_identification:
        return None
    match propose(signal.facts(), signal.rules):
        case Unmatched() | Waiting():
            return None
        case (_, proposed):
            return proposed


def admit(candidates: Sequence[Candidate], actor: str) -> list[Claim]:
    """Decides on the candidates that are still due and still lead to the same proposal, one for each workload; the
    others stay due."""
    candidates = _one_for_each_workload(candidates)
    for one in candidates:
        if one.error is not None:
            raise one.error
    with generic_plan_transaction():
        # Before the signals, as everywhere. A signal whose workload another session has locked stays due.
        workloads = Workload.lock_free(one.signal.target for one in candidates if _may_reserve(one))
        locked = {signal.pk: signal for signal in Signal.lock_due(one.signal.pk for one in candidates)}
        # A repeat may have changed the signal since: then it stays due, and is decided in the next pass.
        current = [
            (one, locked[one.signal.pk])
            for one in candidates
            if one.signal.pk in locked
            and proposal(locked[one.signal.pk]) == one.proposal
            and (one.signal.target in workloads or not _may_reserve(one))
        ]
        unidentified = identify.record([pair for pair in current if pair[0].naming is not None])
        current = [pair for pair in current if pair[0].naming is None]
        questions = [_question(one, signal, workloads.get(signal.target)) for one, signal in current]
        decided = decide(questions)
        rows = list(zip(current, questions, decided, strict=True))
        followed = [*unidentified, *((signal, made) for (_, signal), _, made in rows)]
        # The version of the settings that `due` has read: older than everything that the decisions used, so no hold
        # outlives a change of settings that they did not see.
        settings = {one.signal.pk: one.signal.settings_version for one in candidates}
        signal_transitions.store([_transition(signal, made, settings[signal.pk]) for signal, made in followed])
        store_records(decided)
        claims = _create(rows, workloads, actor)
    for signal, made in followed:
        _count(signal, made)
    for one in candidates:
        one.span.end()
    return claims


def record_failure(candidate: Candidate, error: Exception) -> None:
    """Stores the error of a signal that cannot be processed. The signal is tried again later, and fails after
    MAX_ERRORS errors with the last one as its message."""
    candidate.span.end()
    metrics.FAILED_STEPS.inc()
    log.error("signal %s could not be processed", candidate.signal.pk, exc_info=error)
    signal = Signal.objects.filter(pk=candidate.signal.pk, state=SignalState.PENDING).first()
    if signal is None:
        return
    message = error_text(error)
    if signal.errors + 1 >= MAX_ERRORS:
        signal_transitions.store([signal_transitions.fail(signal, Reason.PROCESSING_ERROR, message)])
    else:
        delay = 2.0**signal.errors
        signal_transitions.store([signal_transitions.retry(signal, Reason.PROCESSING_ERROR, message, delay)])


def _one_for_each_workload(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The decision on the next one depends on the action of this one, or on the live read of a target that the cache
    does not have. A candidate that cannot lead to an action does not wait for others."""
    targets, first = set[Target](), []
    for one in candidates:
        if not (_may_reserve(one) or _is_unknown(one)):
            first.append(one)
        elif one.signal.target not in targets:
            targets.add(one.signal.target)
            first.append(one)
    return first


def _is_unknown(candidate: Candidate) -> bool:
    """Whether it takes a live read to know that its target is missing."""
    state = candidate.state
    unread = state.managed and not state.unreadable and state.object is None and not state.missing
    return candidate.proposal is not None and unread


def _may_reserve(candidate: Candidate) -> bool:
    return candidate.proposal is not None and candidate.state.object is not None


def _candidate(signal: Signal, observe: ObserveTarget, aliases: Callable[[], tuple[AliasSpec, ...]]) -> Candidate:
    span = tracing.start_span("admit", signal.traceparent, signal=signal.pk)
    try:
        state = UNOBSERVED if signal.needs_identification else observe(signal.target)
        return _named(Candidate(signal, proposal(signal), state, span), aliases)
    except Exception as error:
        if is_repeatable(error):
            raise
        return Candidate(signal, None, UNOBSERVED, span, error=error)  # it is recorded with the signal


def _named(candidate: Candidate, aliases: Callable[[], tuple[AliasSpec, ...]]) -> Candidate:
    """With the aliases, if its name may not be that of a workload. Of a target that is known to be missing, an alias
    alone says what else it may be: nothing has to be read."""
    signal, state = candidate.signal, candidate.state
    if signal.needs_identification or _is_unknown(candidate):
        return replace(candidate, aliases=aliases())
    if state.missing and signal.naming is None and (alias := alias_for(signal.named, aliases())):
        return replace(candidate, naming=Naming(signal.named, NamingFacts(alias=alias)))
    return candidate


def _question(candidate: Candidate, signal: Signal, workload: Workload | None) -> Question:
    return Question.of_signal(
        signal.facts(),
        signal.rules,
        candidate.state,
        candidate.proposal,
        candidate.policy,
        workload if _may_reserve(candidate) else None,
    )


def _transition(signal: Signal, decided: Decided, settings_version: int) -> signal_transitions.Transition:
    match decided.decision:
        case Allow() | Ask() | Observe():
            return signal_transitions.admit(signal)
        case Defer(reason=reason, message=message, until=until):
            strength = until_it_differs(signal.facts(), signal.enabled_rules)
            return signal_transitions.defer(signal, reason, message, until, strength)
        case Deny(reason=reason, message=message):
            return signal_transitions.deny(signal, reason, message, hold(signal, decided, settings_version))
        case Ignore(reason=reason, message=message):
            return signal_transitions.ignore(signal, reason, message, hold(signal, decided, settings_version))


def _create(
    rows: Sequence[tuple[tuple[Candidate, Signal], Question, Decided]], workloads: dict[Target, Workload], actor: str
) -> list[Claim]:
    """The actions of what is not refused, with their plans. Nothing has to be read again before the writes of what is
    allowed, whose claims are returned. The others wait for an approval, or have ended."""
    planned = []
    for (candidate, signal), question, decided in rows:
        if isinstance(decided.decision, Allow | Ask | Observe):
            live = question.state.object
            assert live is not None, "a target that does not exist is denied"
            action = Action.new(
                decided.decision.proposal,
                workloads[signal.target],
                moved_by=actor,
                reported_by=signal.reported_by,
                id=question.action_id,
                signal=signal,
                traceparent=tracing.context_of(candidate.span),
            )
            planned.append((action, live, decided))
    if planned:
        firsts = [follow(action, live, decided, actor) for action, live, decided in planned]
        transition_store.create(firsts, now=planned[0][2].inputs.now)
    return [Claim.of(action, decided.limits) for action, _, decided in planned if action.state == ActionState.APPLYING]


def _count(signal: Signal, decided: Decided) -> None:
    decision = decided.decision
    if not isinstance(decision, Defer):  # a deferred one is counted when it is decided on
        metrics.SIGNALS.labels(kind=signal.source).inc()
    metrics.record_use(decision.verdicts)
    if isinstance(decision, Defer | Deny) and decision.proposal is not None:
        metrics.GUARDRAIL_BLOCKS.labels(type=decision.proposal.type.lower(), reason=decision.reason).inc()
