"""Inputs in, judgement out. Pure: the same inputs give the same judgement, today and in years."""

from collections.abc import Callable
from datetime import datetime

from guardrails.checks import limits, ownership
from guardrails.types import Facts, Inputs, Judgement, Limits, Outcome, Verdict
from signals.mapping import Unmatched, propose
from signals.reasons import Reason
from signals.types import Proposal, RuleSpec, SignalFacts

Guardrail = Callable[[Proposal, Facts, Limits, datetime], Verdict]

GUARDRAILS: tuple[Guardrail, ...] = (
    limits.target,
    limits.protected_namespace,
    limits.freeze,
    limits.max_replicas,
    limits.policy,
    ownership.paused,
    ownership.autoscaler,
    ownership.field_owners,
    limits.one_action_at_a_time,
    limits.cooldown,
    limits.actions_per_hour,
    limits.scale_velocity,
)
_SEVERITY = {Outcome.ALLOW: 0, Outcome.DEFER: 1, Outcome.DENY: 2, Outcome.IGNORE: 3}


def decide(inputs: Inputs) -> Judgement:
    """Every guardrail is asked, also when an earlier one refuses. The severest verdict decides; among deferrals, the
    one that lasts longest."""
    rule: RuleSpec | None = None
    proposal = inputs.proposal
    verdicts: tuple[Verdict, ...] = ()
    if inputs.signal is not None:
        verdicts = (_freshness(inputs, inputs.signal),)
        if proposal is None:
            match propose(inputs.signal, inputs.rules):
                case Unmatched(message, details, below_threshold):
                    reason = Reason.BELOW_THRESHOLD if below_threshold else Reason.NO_RULE
                    verdicts += (Verdict("rules", Outcome.IGNORE, reason, message, details),)
                case (rule, proposal):
                    pass
    if proposal is not None:
        verdicts += tuple(ask(proposal, inputs.facts, inputs.limits, inputs.now) for ask in GUARDRAILS)
    return _judge(verdicts, proposal, rule)


def _freshness(inputs: Inputs, signal: SignalFacts) -> Verdict:
    """A signal that nobody repeated for long says nothing of now."""
    name, limit = "signal", inputs.limits.signal_ttl_seconds
    if signal.resolved:
        return Verdict(name, Outcome.DENY, Reason.SIGNAL_RESOLVED, "The source says that the trouble is over.")
    age = round((inputs.now - signal.last_seen_at).total_seconds(), 1)
    details = {"age_seconds": age, "limit_seconds": limit}
    if age > limit:
        message = f"Last seen {age:.0f} s ago, more than {limit} s: too old to act upon."
        return Verdict(name, Outcome.DENY, Reason.SIGNAL_EXPIRED, message, details)
    return Verdict(name, details=details)


def _judge(verdicts: tuple[Verdict, ...], proposal: Proposal | None, rule: RuleSpec | None) -> Judgement:
    severest = max(_SEVERITY[verdict.outcome] for verdict in verdicts)
    deciding = [verdict for verdict in verdicts if _SEVERITY[verdict.outcome] == severest]
    if severest == _SEVERITY[Outcome.ALLOW]:
        return Judgement(Outcome.ALLOW, verdicts, proposal=proposal, rule=rule)
    one = deciding[0]
    if severest == _SEVERITY[Outcome.DEFER]:
        one = max(deciding, key=lambda verdict: verdict.until.timestamp() if verdict.until else 0.0)
    return Judgement(one.outcome, verdicts, one.reason, one.message, one.details, one.until, proposal, rule)
