"""How a stored decision would have ended under a draft. Pure.

Decisions are evaluated again in their own order, so that limits count what the draft would have done. Signals are taken
as they were reported.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from guardrails.checks.approval import labels_of
from guardrails.types import Inputs, Limits, Outcome
from guardrails.what_if.again import Ending, decide_again
from guardrails.what_if.history import TOLERANCE, DraftHistory, Wait
from guardrails.what_if.types import NOT_MADE, SAME, Compared, Comparison, Doubt, Drafted, PastDecision
from signals.mapping import Unmatched, Waiting, propose
from signals.proposals import PROPOSAL_TYPES, scale_decrease, scale_increase
from signals.symptoms import symptom_key
from signals.types import ActionType, Proposal, SignalFacts

PENDING_FOR = timedelta(minutes=15)  # the longest time from the admission of an action to its write


def evaluate(past: PastDecision, drafted: Drafted | None, history: DraftHistory) -> Compared:
    """`drafted` is None if the draft changes no input of the decision. `history` is that of the workload, to which the
    result is added."""
    inputs, becomes = past.inputs, drafted or Drafted(past.inputs)
    history.forget(inputs.now, max(inputs.limits.cooldown_seconds, becomes.inputs.limits.cooldown_seconds))
    acted = _acted(past.outcome) and past.effect.applied_at is not None
    proposal = proposal_in(inputs) if acted or drafted is not None or history.differs else None
    compared: Compared | None = SAME
    if drafted is not None or history.differs:
        history.observe(inputs.facts.target)
        compared = _consequence(past, becomes, history, proposal)
    if compared is None:
        compared = _decide_again(past, becomes, history, proposal)
    if acted and proposal is not None and (history.differs or _has_own_cooldown(past, becomes)):
        history.note(past, proposal.type)
    return compared


def _has_own_cooldown(past: PastDecision, drafted: Drafted) -> bool:
    """Whether its cooldown is not that of its facts: the draft has another, or it began again after a verification."""
    seconds, effect = past.inputs.limits.cooldown_seconds, past.effect
    if drafted.inputs.limits.cooldown_seconds != seconds:
        return True
    took = effect.finished_at - effect.applied_at if effect.finished_at and effect.applied_at else timedelta(0)
    return took >= timedelta(seconds=seconds)


def proposal_in(inputs: Inputs) -> Proposal | None:
    if inputs.proposal is not None:
        return inputs.proposal
    found = None if inputs.signal is None else propose(inputs.signal, inputs.rules)
    return None if found is None or isinstance(found, Unmatched | Waiting) else found[1]


def _acted(outcome: Outcome) -> bool:
    """Whether the decision led to an action. One that a person has to approve may come to nothing."""
    return outcome in (Outcome.ALLOW, Outcome.ASK, Outcome.OBSERVE)


def _consequence(
    past: PastDecision, drafted: Drafted, history: DraftHistory, proposal: Proposal | None
) -> Compared | None:
    """What an earlier decision that would have ended differently makes of this one; None if it is made as well."""
    now, signal = past.inputs.now, drafted.inputs.signal
    if past.before_write:
        gone = history.missing(past.action)
        return None if gone is None else _left_out(past, drafted, history, proposal, gone.doubt, again=True)
    if past.signal in history.ended:
        return _left_out(past, drafted, history, proposal, history.ended[past.signal][1])
    if not history.waits:
        return None
    problem = _problem(past.inputs)
    wait = history.waits.get(problem)
    if wait is None:
        return None
    if past.signal == wait.signal and wait.stored_until is not None and now < wait.stored_until - TOLERANCE:
        return None  # something made it due before that, and does so under the draft
    if now < wait.until - TOLERANCE:
        if signal is not None and past.signal != wait.signal:  # its report is counted on the signal that still waits
            wait.expires_at = max(wait.expires_at, _expires_at(signal, drafted.inputs.limits))
        return _left_out(past, drafted, history, proposal, None)
    if wait.sooner or (wait.may_act and now <= wait.expires_at):
        return _left_out(past, drafted, history, proposal, Doubt.DECIDED_ANOTHER_TIME)
    history.end_wait(problem)
    return None


def _left_out(
    past: PastDecision, drafted: Drafted, history: DraftHistory, proposal: Proposal | None, doubt: Doubt | None,
    again: bool = False,
) -> Compared:  # fmt: skip
    if _acted(past.outcome) and proposal is not None and past.action and not again:
        history.leave_out(past, proposal.type, drafted.inputs.limits, doubt)
    return NOT_MADE if doubt is None else Compared(Comparison.UNKNOWN, doubt=doubt)


def _decide_again(past: PastDecision, drafted: Drafted, history: DraftHistory, proposal: Proposal | None) -> Compared:
    inputs = drafted.inputs
    wanted = proposal if inputs.rules is past.inputs.rules else proposal_in(inputs)
    fewest = _decide(past, inputs, history, proposal, wanted, False)
    most = fewest if history.doubt is None else _decide(past, inputs, history, proposal, wanted, True)
    doubt = drafted.doubt or _unloaded(past, inputs, wanted, proposal, fewest)
    if doubt is None and fewest.outcome is not most.outcome:
        doubt = history.doubt or Doubt.VERIFICATION_UNKNOWN
    if doubt is None and not fewest.is_reproduced:
        doubt = Doubt.OTHER_VERSION
    if doubt is not None:
        return _doubtful(past, inputs, history, wanted, proposal, doubt)
    return _known(past, inputs, history, wanted, proposal, fewest)


def _decide(
    past: PastDecision, inputs: Inputs, history: DraftHistory, proposal: Proposal | None, wanted: Proposal | None,
    all_possible: bool,
) -> Ending:  # fmt: skip
    facts = inputs.facts
    if history.differs or inputs.limits.cooldown_seconds != past.inputs.limits.cooldown_seconds:
        type_ = wanted.type if wanted is not None else ActionType.RESTART
        facts = history.facts(facts, past.inputs.limits, inputs.limits, type_, inputs.now, all_possible)
    return decide_again(past, proposal, wanted, inputs, facts)


def _unloaded(
    past: PastDecision, inputs: Inputs, wanted: Proposal | None, proposal: Proposal | None, ending: Ending
) -> Doubt | None:
    """Whether the draft allows what nobody has loaded the facts for."""
    if wanted is None or not _acted(ending.outcome):
        return None
    facts = past.inputs.facts
    stored, labels = (labels_of(one.limits.protected_labels) for one in (past.inputs, inputs))
    if ending.outcome is Outcome.ALLOW and facts.target is not None and not set(labels) <= set(stored):
        return Doubt.FACTS_NOT_LOADED  # the labels of the workload are not stored
    if _is_same(wanted, proposal):
        return None
    if not facts.history_loaded or not facts.target_seen or _fields(wanted) - _fields(proposal):
        return Doubt.FACTS_NOT_LOADED
    return Doubt.POLICY_NOT_QUERIED if facts.policy is not None else None


def _known(
    past: PastDecision, inputs: Inputs, history: DraftHistory, wanted: Proposal | None, proposal: Proposal | None,
    ending: Ending,
) -> Compared:  # fmt: skip
    acted, acts = _acted(past.outcome), _acted(ending.outcome)
    changed = ending.outcome is not past.outcome or (acts and not _is_same(wanted, proposal))
    asks = Doubt.APPROVAL_UNKNOWN if ending.outcome is Outcome.ASK else None
    deferred = ending.outcome is Outcome.DEFER
    if acted and proposal is not None and changed:
        history.leave_out(past, proposal.type, inputs.limits, asks)
    if acts and wanted is not None and changed and (not acted or asks is None):
        _add(inputs, history, wanted, asks, ending.outcome is not Outcome.OBSERVE)
    if acts and not changed and proposal is not None:
        history.keep(past, proposal)
    if past.before_write and acted and wanted is not None and deferred and ending.until is not None:
        # The action stays pending, and may be written later.
        latest = inputs.now + PENDING_FOR
        history.add(wanted, inputs.facts.target, ending.until, inputs.limits, Doubt.DECIDED_ANOTHER_TIME, latest)
    if past.outcome is Outcome.DEFER and not deferred and past.signal and not past.before_write:
        history.ended[past.signal] = (inputs.now, None)
    other_time = _waits(past, inputs, history, wanted, ending)
    comparison = Comparison.DIFFERENT
    if not changed:
        if other_time:
            comparison = Comparison.OTHER_TIME
        elif acts or deferred or ending.reason == past.reason:
            return SAME
    return Compared(comparison, ending.outcome, ending.reason, ending.message, ending.until)


def _add(inputs: Inputs, history: DraftHistory, wanted: Proposal, doubt: Doubt | None, written: bool) -> None:
    if wanted.dry_run:
        return
    target, latest = inputs.facts.target, None
    if target is None:  # the web process admits it; a reconciler decides again
        doubt, latest = Doubt.FACTS_NOT_LOADED, inputs.now + PENDING_FOR
    if doubt is Doubt.APPROVAL_UNKNOWN:
        latest = inputs.now + timedelta(seconds=inputs.limits.approval_timeout_seconds)
    history.add(wanted, target, inputs.now, inputs.limits, doubt, latest, written)


def _waits(past: PastDecision, inputs: Inputs, history: DraftHistory, wanted: Proposal | None, ending: Ending) -> bool:
    """Whether the signal waits under the draft until another time than it did."""
    signal = inputs.signal
    if past.before_write or not past.signal or signal is None:
        return False
    if ending.outcome is not Outcome.DEFER or ending.until is None:
        if history.waits:
            history.waits.pop(_problem(inputs), None)
        return False
    if past.until is not None and abs(ending.until - past.until) <= TOLERANCE:
        return False
    type_ = None if wanted is None else wanted.type
    sooner = past.until is not None and ending.until < past.until
    expires_at = _expires_at(signal, inputs.limits)
    limits = replace(inputs.limits, sources={})
    live = 0 if inputs.facts.target is None else inputs.facts.target.replicas
    up, down = (0, 0) if wanted is None else (scale_increase(wanted, live), scale_decrease(wanted, live))
    wait = Wait(past.signal, ending.until, past.until, expires_at, type_, limits, sooner, up, down)
    history.waits[_problem(inputs)] = wait
    return True


def _doubtful(
    past: PastDecision, inputs: Inputs, history: DraftHistory, wanted: Proposal | None, proposal: Proposal | None,
    doubt: Doubt,
) -> Compared:  # fmt: skip
    if _acted(past.outcome) and proposal is not None:
        history.leave_out(past, proposal.type, inputs.limits, doubt)
    elif wanted is not None and not wanted.dry_run:
        history.add(wanted, inputs.facts.target, inputs.now, inputs.limits, doubt, _latest(inputs))
    if past.signal and not past.before_write and past.outcome is Outcome.DEFER:
        history.ended[past.signal] = (inputs.now, doubt)
    return Compared(Comparison.UNKNOWN, doubt=doubt)


def _latest(inputs: Inputs) -> datetime:
    return inputs.now if inputs.facts.target_seen else inputs.now + PENDING_FOR


def _expires_at(signal: SignalFacts, limits: Limits) -> datetime:
    """When the signal is not acted upon any more, unless it is reported again."""
    kept = timedelta(seconds=signal.kept_seconds)
    return signal.last_seen_at + kept + timedelta(seconds=limits.signal_ttl_seconds)


def _problem(inputs: Inputs) -> str:
    signal = inputs.signal
    return "" if signal is None else f"{signal.source} {symptom_key(signal.symptom)}"


def _is_same(one: Proposal | None, other: Proposal | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.type is other.type and one.params == other.params


def _fields(proposal: Proposal | None) -> set[str]:
    return set() if proposal is None else set(PROPOSAL_TYPES[proposal.type].fields(proposal.params))
