"""How a stored decision ends with other inputs. Guardrails that read none of the inputs that differ are not evaluated
again. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from guardrails.checks.approval import failed_before, large_change, mode, protected_labels
from guardrails.checks.busy import one_action_at_a_time
from guardrails.checks.freeze import freeze
from guardrails.checks.missing import missing_replicas
from guardrails.checks.ownership import autoscaler, field_owners
from guardrails.checks.replicas import max_replicas, min_replicas, scale_direction
from guardrails.checks.rollout import rollout
from guardrails.checks.signal import freshness
from guardrails.checks.target import scaled_to_zero, target
from guardrails.checks.windows import actions_per_hour, cooldown, scale_down_velocity, scale_velocity
from guardrails.evaluate import GUARDRAILS, Guardrail, conclude, decide
from guardrails.types import Decision, Denial, Facts, Inputs, Limits, Outcome, Verdict
from guardrails.what_if import values
from guardrails.what_if.types import PastDecision
from signals.types import Proposal

ASKS = (mode, large_change, protected_labels, failed_before)
# By the limit, the fact, or the fact of the target: the guardrails that read it, besides `freshness`. All may read an
# input that is not listed. (tests/guardrails/test_what_if_again.py records what each one reads.)
READERS: Mapping[str, Sequence[Guardrail]] = {
    "max_replicas": (max_replicas,),
    "min_replicas": (min_replicas,),
    "cooldown_seconds": (cooldown,),
    "max_actions_per_hour": (actions_per_hour,),
    "max_scale_increase": (scale_velocity,),
    "max_scale_decrease": (scale_down_velocity,),
    "rollout_settle_seconds": (rollout,),
    "signal_ttl_seconds": (),
    "verification_timeout_seconds": (),
    "stabilization_seconds": (),
    "respect_owners": (autoscaler, field_owners),
    "mode": (mode,),
    "max_unapproved_replicas": (large_change,),
    "max_unapproved_percent": (large_change,),
    "protected_labels": (protected_labels,),
    "approve_after_failure": (failed_before,),
    "approvals_required": ASKS,
    "approval_timeout_seconds": (),
    "sources": (mode,),
    "active_action": (one_action_at_a_time,),
    "cooldown_until": (cooldown,),
    "recent": (actions_per_hour, scale_velocity, scale_down_velocity),
    "scaled_to": (missing_replicas,),
    "freezes": (freeze,),
    "replicas": (
        *(target, scaled_to_zero, max_replicas, min_replicas, scale_direction, autoscaler, missing_replicas),
        *(scale_velocity, scale_down_velocity, large_change),
    ),
    "available": (missing_replicas,),
    "rollout": (rollout,),
}
READ_BY_FRESHNESS = frozenset({"signal_ttl_seconds", "target", "rollout"})
ALLOWING = (Outcome.ALLOW, Outcome.WARN, Outcome.NOT_EVALUATED)  # of a verdict


class Ending(NamedTuple):
    """What matters of a decision. `is_reproduced`: the stored inputs lead to the stored outcome today, too."""

    outcome: Outcome
    reason: str | None = None
    message: str = ""
    until: datetime | None = None
    is_reproduced: bool = True


def decide_again(
    past: PastDecision, proposal: Proposal | None, wanted: Proposal | None, inputs: Inputs, facts: Facts
) -> Ending:
    """With `facts` and the other `inputs`, of which signal and time are those that are stored. `proposal` is that of
    the stored inputs, `wanted` that of the others."""
    before = past.inputs
    if proposal is None or (wanted is not proposal and wanted != proposal):
        return _decided(past, inputs, facts)
    names = tuple(differing(before, inputs.limits, facts))
    readers, is_aged = readers_of(names), not READ_BY_FRESHNESS.isdisjoint(names)
    were = _verdicts(before, before.facts, proposal, readers, is_aged)
    become = _verdicts(inputs, facts, proposal, readers, is_aged)
    if past.outcome is Outcome.ALLOW:
        # No guardrail refused it. Those that are not evaluated again would not refuse it under the draft, either.
        found = _up_to_a_denial(become)
        decision = found[-1] if found and isinstance(found[-1], Denial) else conclude(found, proposal, None)
        if decision.outcome is Outcome.ALLOW:
            return Ending(Outcome.ALLOW)
        return _ending(decision, all(one.outcome in ALLOWING for one in islice(were, len(found))))
    if all(map(_is_alike, were, become)):
        return Ending(past.outcome, past.reason or None, until=past.until)
    return _decided(past, inputs, facts)


def differing(before: Inputs, limits: Limits, facts: Facts) -> list[str]:
    """The names of the limits, of the facts, and of the facts of the target that differ."""
    names = [*values.differing(before.limits, limits), *values.differing(before.facts, facts)]
    if "target" in names and before.facts.target is not None and facts.target is not None:
        names.remove("target")
        names += values.differing(before.facts.target, facts.target)
    return names


@lru_cache(1000)
def readers_of(names: Iterable[str]) -> tuple[Guardrail, ...]:
    """In their order."""
    readers = {reader for name in names for reader in READERS.get(name, GUARDRAILS)}
    return tuple(one for one in GUARDRAILS if one in readers)


def _verdicts(
    inputs: Inputs, facts: Facts, proposal: Proposal, readers: Iterable[Guardrail], is_aged: bool
) -> Iterator[Verdict]:
    if is_aged and inputs.signal is not None:
        yield freshness(inputs.signal, facts, inputs.limits, inputs.now)
    for guardrail in readers:
        yield guardrail(proposal, facts, inputs.limits, inputs.now)


def _up_to_a_denial(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """What follows a denial changes no decision."""
    found: list[Verdict] = []
    for one in verdicts:
        found.append(one)
        if isinstance(one, Denial):
            break
    return tuple(found)


def _is_alike(one: Verdict, other: Verdict) -> bool:
    return one.outcome is other.outcome and one.reason is other.reason and one.until == other.until


def _decided(past: PastDecision, inputs: Inputs, facts: Facts) -> Ending:
    decision = decide(replace(inputs, facts=facts), brief=True)
    is_alike = decision.outcome is past.outcome
    return _ending(decision, is_alike or decide(past.inputs, brief=True).outcome is past.outcome)


def _ending(decision: Decision | Denial, is_reproduced: bool) -> Ending:
    reason, until = getattr(decision, "reason", None), getattr(decision, "until", None)
    return Ending(decision.outcome, reason, getattr(decision, "message", ""), until, is_reproduced)
