"""Makes decisions: loads the history of the workloads, evaluates the guardrails, and stores decision records.

It has three callers: a direct request (`direct.py`), signals (`reconciler/admit.py`), and the check that is repeated
right before a write (`reconciler/dispatch.py`). The caller holds the rows of the workloads, so that a decision and what
it reserves are one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings

from guardrails import evaluate
from guardrails.replay import dump_inputs, dump_verdicts
from guardrails.types import Allow, Decision, Defer, Deny, Exemptions, Facts, Ignore, Inputs, Limits, PolicyAnswer
from orchestrator import queries
from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.k8s.target import TargetState
from orchestrator.models import DecisionRecord, Phase, Workload
from signals.proposals import PROPOSAL_TYPES
from signals.types import Proposal, RuleSpec, SignalFacts, Target


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided. `action_id` is the id of the action that an Allow leads to, or whose write is checked.
    `proposal` is None if no rule matches the signal. Without a locked `workload` nothing can be reserved, and its
    history is not loaded. `rules` are those that may match the signal; without them, `proposal` is decided on as it
    is."""

    phase: Phase
    action_id: UUID
    target: Target
    state: TargetState
    proposal: Proposal | None
    policy: PolicyAnswer | None
    workload: Workload | None = None
    signal: SignalFacts | None = None
    rules: tuple[RuleSpec, ...] | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with the inputs that lead to it, on what was asked."""

    question: Question
    decision: Decision
    inputs: Inputs

    @property
    def limits(self) -> Limits:
        return self.inputs.limits


def decide(questions: Sequence[Question]) -> list[Decided]:
    """In the order given. Nothing is stored."""
    histories = load_history([_wanted(one) for one in questions])
    decided = []
    for question, history in zip(questions, histories, strict=True):
        inputs = _inputs(question, history)
        decided.append(Decided(question, evaluate.decide(inputs), inputs))
    return decided


def store_records(decided: Iterable[Decided]) -> None:
    """Stores the records of the decisions that were followed: in the transaction that stores what they lead to. A
    decision that another process has overtaken leaves no record."""
    queries.insert(list(map(_record, decided)))


def _wanted(question: Question) -> Wanted:
    workload, proposal = question.workload, question.proposal
    return Wanted(
        target=question.target,
        workload=None if workload is None else workload.pk,
        action_type=None if proposal is None else proposal.type,
        params=None if proposal is None else proposal.params,
        own=question.action_id,
    )


def _inputs(question: Question, history: WorkloadHistory) -> Inputs:
    return Inputs(
        now=history.now,
        facts=_facts(question, history),
        limits=history.limits,
        signal=question.signal,
        rules=question.rules or (),
        proposal=question.proposal if question.rules is None else None,
    )


def _facts(question: Question, history: WorkloadHistory) -> Facts:
    state, proposal = question.state, question.proposal
    changed = () if proposal is None else PROPOSAL_TYPES[proposal.type].fields(proposal.params)
    known = Facts(
        target_seen=state.seen,
        target=state.facts(changed),
        managed=state.managed,
        unreadable=state.unreadable,
        policy=question.policy,
        history_loaded=False,
        exemptions=Exemptions(
            own_workloads=tuple(settings.SMARTOPS_ALLOWED_OWN_WORKLOADS),
            patch_prefixes=tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES),
        ),
    )
    if question.workload is None:
        return known
    return replace(
        known,
        history_loaded=True,
        active_action=history.active_action,
        cooldown_until=history.cooldown_until,
        recent=history.recent,
        refused=history.refused,
        scaled_to=history.scaled_to,
        freezes=history.freezes,
    )


def _record(decided: Decided) -> DecisionRecord:
    question, decision = decided.question, decided.decision
    record = DecisionRecord(
        phase=question.phase,
        signal_id=None if question.signal is None else question.signal.id,
        cluster=question.target.cluster,
        kind=question.target.kind,
        namespace=question.target.namespace,
        workload=question.target.name,
        requested_by=_requested_by(question, decision),
        outcome=decision.outcome,
        inputs=dump_inputs(decided.inputs),
        verdicts=dump_verdicts(decision.verdicts),
    )
    if isinstance(decision, Allow) or question.phase is Phase.PLAN:
        record.action_id = question.action_id
    if not isinstance(decision, Allow):
        record.reason, record.message = decision.reason, decision.message
    if isinstance(decision, Defer | Deny):
        record.until = decision.until
    return record


def _requested_by(question: Question, decision: Decision) -> str:
    """The actor of the proposal. What no rule makes a proposal of, only its reporters asked for."""
    if not isinstance(decision, Ignore) and decision.proposal is not None:
        return decision.proposal.requested_by
    return question.signal.reported_by[0] if question.signal and question.signal.reported_by else ""
