"""Makes decisions: loads the history of the workloads, evaluates the guardrails, and stores decision records.

It has three callers: a direct request (`direct.py`), signals (`reconciler/admit.py`), and the check that is repeated
right before a write (`reconciler/plan.py`). The caller holds the rows of the workloads, so that a decision and what
it reserves are one.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings

from guardrails import evaluate
from guardrails.checks.approval import protecting
from guardrails.replay import dump_inputs, dump_verdicts
from guardrails.types import (
    Allow,
    ApprovalFacts,
    Ask,
    Decision,
    Defer,
    Deny,
    Exemptions,
    Facts,
    Ignore,
    Inputs,
    Limits,
    Observe,
    PolicyAnswer,
    TargetFacts,
)
from orchestrator import queries
from orchestrator.decide.approval import approval_facts, plan_columns, rule_of, shown
from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.k8s.target import UNOBSERVED, TargetState
from orchestrator.models import Action, DecisionRecord, Phase, Workload
from signals.models import Signal
from signals.proposals import PROPOSAL_TYPES
from signals.types import Mode, Proposal, RuleSpec, SignalFacts, Target


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided, in three shapes: `of_signal`, `of_request` and `before_write`. `action_id` is the id of
    the action that an Allow, Ask or Observe leads to, or whose write is checked. Without a locked `workload` nothing
    can be reserved, and its history is not loaded. With `rules`, the decision proposes by them; without them,
    `proposal` is decided on as it is, with the mode that its rule has now. `shown_action`: the action, if its plan was
    shown to persons. `overrides`: the active action that ends if this one is allowed. `active_waits`: what the active
    action waits for, as a sentence."""

    phase: Phase
    action_id: UUID
    target: Target
    state: TargetState
    proposal: Proposal | None
    policy: PolicyAnswer | None
    workload: Workload | None = None
    signal: SignalFacts | None = None
    rules: tuple[RuleSpec, ...] | None = None
    shown_action: Action | None = None
    overrides: UUID | None = None
    active_waits: str = ""

    @classmethod
    def of_signal(
        cls,
        signal: SignalFacts,
        rules: tuple[RuleSpec, ...],
        state: TargetState = UNOBSERVED,
        proposal: Proposal | None = None,
        policy: PolicyAnswer | None = None,
        workload: Workload | None = None,
    ) -> "Question":
        """Whether a signal leads to an action. `rules` are those that may match it. `proposal` is what they propose:
        the history is loaded for it, and the decision proposes the same, with the same pure function. It is None if no
        rule matches."""
        target, action_id = signal.target, Action.new_id()
        return cls(Phase.ADMIT, action_id, target, state, proposal, policy, workload, signal=signal, rules=rules)

    @classmethod
    def of_request(cls, proposal: Proposal, policy: PolicyAnswer | None, workload: Workload) -> "Question":
        """Whether a direct request becomes an action. The web process observes no target."""
        return cls(Phase.ADMIT, Action.new_id(), proposal.target, UNOBSERVED, proposal, policy, workload)

    @classmethod
    def before_write(
        cls,
        action: Action,
        state: TargetState,
        workload: Workload,
        signal: Signal | None,
        policy: PolicyAnswer | None = None,
    ) -> "Question":
        """Whether an action may still be written, or shown to persons, with its signal and its target as they are
        now."""
        return cls(
            phase=Phase.PLAN,
            action_id=action.pk,
            target=action.workload.target,
            state=state,
            proposal=action.proposal,
            policy=policy,
            workload=workload,
            signal=None if signal is None else signal.facts(),
            shown_action=action if action.digest else None,
        )


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with the inputs that lead to it, and its question. `rule_version`: that of the rule that requests the
    change; None if there is none, or no longer."""

    question: Question
    decision: Decision
    inputs: Inputs
    rule_version: int | None = None

    @property
    def limits(self) -> Limits:
        return self.inputs.limits


def decide(questions: Sequence[Question]) -> list[Decided]:
    """In the order given. Nothing is stored."""
    histories = load_history([_wanted(one) for one in questions])
    decided = []
    for question, history in zip(questions, histories, strict=True):
        inputs = _inputs(question, history)
        decision = evaluate.decide(inputs)
        decided.append(Decided(question, decision, inputs, _rule_version(decision, history)))
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
        own=question.overrides or question.action_id,
        rule="" if proposal is None or question.rules is not None else rule_of(proposal.requested_by),
        votes_on=None if question.shown_action is None else question.shown_action.pk,
    )


def _inputs(question: Question, history: WorkloadHistory) -> Inputs:
    return Inputs(
        now=history.now,
        facts=_facts(question, history),
        limits=history.limits,
        signal=question.signal,
        rules=question.rules or (),
        proposal=None if question.rules is not None else _in_its_mode(question.proposal, history),
    )


def _in_its_mode(proposal: Proposal | None, history: WorkloadHistory) -> Proposal | None:
    """With the mode of its rule as it is now."""
    return proposal and replace(proposal, mode=Mode.AUTO if history.rule is None else history.rule.mode)


def _rule_version(decision: Decision, history: WorkloadHistory) -> int | None:
    rule = None if isinstance(decision, Ignore) else decision.rule
    return rule.version if rule is not None else history.rule and history.rule.version


def _facts(question: Question, history: WorkloadHistory) -> Facts:
    state, proposal = question.state, question.proposal
    changed = () if proposal is None else PROPOSAL_TYPES[proposal.type].fields(proposal.params)
    known = Facts(
        target_seen=state.seen,
        target=_protected(state, state.facts(changed), history.limits),
        namesakes=state.namesakes,
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
    waits = question.active_waits if history.active_action else ""
    return replace(history.added_to(known), approval=_approval(question, history), active_waits=waits)


def _protected(state: TargetState, target: TargetFacts | None, limits: Limits) -> TargetFacts | None:
    if target is None or state.object is None or not limits.protected_labels:
        return target
    labels = json.loads(state.object.document).get("metadata", {}).get("labels")
    return replace(target, protected_by=protecting(limits.protected_labels, labels))


def _approval(question: Question, history: WorkloadHistory) -> ApprovalFacts | None:
    """Without a target, nothing is approved: that is denied anyway."""
    action, live = question.shown_action, question.state.object
    if action is None or live is None:
        return None
    version = history.rule and history.rule.version
    now = shown(plan_columns(action, live), rule_of(action.requested_by), version, history.limits)
    return approval_facts(action, history.votes, now)


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
        created_at=decided.inputs.now,
    )
    if isinstance(decision, Allow | Ask | Observe) or question.phase is Phase.PLAN:
        record.action_id = question.action_id
    if not isinstance(decision, Allow):
        record.reason, record.message = decision.reason, decision.message
    if isinstance(decision, Defer | Deny):
        record.until = decision.until
    return record


def _requested_by(question: Question, decision: Decision) -> str:
    """The actor of the proposal. What no rule makes a proposal of has only its reporters."""
    if not isinstance(decision, Ignore) and decision.proposal is not None:
        return decision.proposal.requested_by
    return question.signal.reported_by[0] if question.signal and question.signal.reported_by else ""
