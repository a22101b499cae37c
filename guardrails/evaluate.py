"""Inputs in, decision out. Pure: the same inputs give the same decision, today and in years."""

from collections.abc import Callable
from datetime import datetime, timedelta

from guardrails.checks.approval import failed_before, large_change, mode, protected_labels
from guardrails.checks.busy import one_action_at_a_time
from guardrails.checks.freeze import freeze
from guardrails.checks.identification import identification
from guardrails.checks.kind import kind
from guardrails.checks.missing import missing_replicas
from guardrails.checks.ownership import autoscaler, field_owners, paused
from guardrails.checks.patch import patch_allowlist
from guardrails.checks.policy import policy
from guardrails.checks.refused import recently_refused
from guardrails.checks.replicas import max_replicas, min_replicas, scale_direction
from guardrails.checks.rollout import rollout
from guardrails.checks.signal import freshness
from guardrails.checks.target import own_workload, protected_namespace, readable_namespace, scaled_to_zero, target
from guardrails.checks.windows import actions_per_hour, cooldown, scale_down_velocity, scale_velocity
from guardrails.types import (
    Allow,
    Ask,
    Asked,
    Decision,
    Defer,
    Deferral,
    Denial,
    Deny,
    Facts,
    Ignore,
    Inputs,
    Limits,
    Observe,
    Observed,
    Unproposed,
    Verdict,
)
from signals.mapping import Unmatched, Waiting, propose
from signals.reasons import Reason
from signals.types import Proposal, RuleSpec

Guardrail = Callable[[Proposal, Facts, Limits, datetime], Verdict]

GUARDRAILS: tuple[Guardrail, ...] = (
    target,
    readable_namespace,
    protected_namespace,
    own_workload,
    kind,
    patch_allowlist,
    freeze,
    scaled_to_zero,
    max_replicas,
    min_replicas,
    scale_direction,
    policy,
    paused,
    autoscaler,
    field_owners,
    one_action_at_a_time,
    rollout,
    missing_replicas,
    recently_refused,
    cooldown,
    actions_per_hour,
    scale_velocity,
    scale_down_velocity,
    mode,
    large_change,
    protected_labels,
    failed_before,
)


def decide(inputs: Inputs, *, brief: bool = False) -> Decision:
    """Evaluates every guardrail, also when an earlier one refuses. The first denial decides; without one, the deferral
    that lasts longest; without one, a verdict that only observes; without one, the verdicts that ask for an approval. A
    guardrail that was not evaluated neither allows nor refuses. A `brief` decision lacks the verdicts after the first
    denial, and is the same otherwise."""
    verdicts: tuple[Verdict, ...] = ()
    if inputs.signal is not None:
        verdicts = (freshness(inputs.signal, inputs.facts, inputs.limits, inputs.now),)
        if inputs.signal.naming is not None:
            identified = identification(inputs.signal.naming, inputs.now)
            verdicts += (identified,)
            if isinstance(identified, Deferral | Denial) and (refusal := _refusal(verdicts, None, None)):
                return refusal
    found = _proposed(inputs)
    if isinstance(found, Unmatched):
        reason = Reason.BELOW_THRESHOLD if found.below_threshold else Reason.NO_RULE
        verdict = Unproposed("rules", found.message, found.details, reason=reason)
        return Ignore(reason, found.message, (*verdicts, verdict), found.details)
    if isinstance(found, Waiting):
        waits = _refusal((*verdicts, _wait(found, verdicts, inputs.now)), None, found.rule)
        assert waits is not None, "the last verdict defers"
        return waits
    rule, proposal = found
    for guardrail in GUARDRAILS:
        verdicts += (guardrail(proposal, inputs.facts, inputs.limits, inputs.now),)
        if brief and isinstance(verdicts[-1], Denial):
            break
    return conclude(verdicts, proposal, rule)


def conclude(verdicts: tuple[Verdict, ...], proposal: Proposal, rule: RuleSpec | None) -> Decision:
    """The decision that the verdicts on a proposal lead to."""
    return _refusal(verdicts, proposal, rule) or _permission(verdicts, proposal, rule)


def _wait(waiting: Waiting, verdicts: tuple[Verdict, ...], now: datetime) -> Deferral:
    """Until the problem has lasted for long enough. What waits for another report makes it due; without one, the signal
    expires."""
    seconds = waiting.seconds
    if seconds is None:
        left = [one.details["limit_seconds"] - one.details["age_seconds"] for one in verdicts[:1] if one.details]
        seconds = 1 + max([0, *left])
    until = now + timedelta(seconds=seconds)
    return Deferral("rules", waiting.message, waiting.details, reason=waiting.reason, until=until)


def _proposed(inputs: Inputs) -> tuple[RuleSpec | None, Proposal] | Waiting | Unmatched:
    if inputs.proposal is not None:
        return None, inputs.proposal
    if inputs.signal is not None:
        return propose(inputs.signal, inputs.rules)
    return Unmatched("There is neither a signal nor a proposal.")


def _permission(verdicts: tuple[Verdict, ...], proposal: Proposal, rule: RuleSpec | None) -> Allow | Ask | Observe:
    for one in verdicts:
        if isinstance(one, Observed):
            return Observe(proposal, one.reason, one.message, verdicts, one.details, rule)
    if asked := [one for one in verdicts if isinstance(one, Asked)]:
        message = " ".join(one.message for one in asked)
        return Ask(proposal, asked[0].reason, message, verdicts, asked[0].details, rule)
    return Allow(proposal, verdicts, rule)


def _refusal(verdicts: tuple[Verdict, ...], proposal: Proposal | None, rule: RuleSpec | None) -> Deny | Defer | None:
    for one in verdicts:
        if isinstance(one, Denial):
            return Deny(one.reason, one.message, verdicts, one.details, one.until, proposal, rule)
    deferrals = [one for one in verdicts if isinstance(one, Deferral)]
    if deferrals:
        longest = max(deferrals, key=lambda one: one.until)
        details = longest.details
        return Defer(proposal, longest.reason, longest.message, longest.until, verdicts, details, rule)
    return None
