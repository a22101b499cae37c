"""Signal and rules in, proposal out. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from signals import actors
from signals.types import Origin, Proposal, RuleSpec, SignalFacts


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why a signal leads to no proposal: no rule matches it, or it stays below the thresholds of those that match."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)
    below_threshold: bool = False


def matches(rule: RuleSpec, signal: SignalFacts) -> bool:
    return (
        rule.source == signal.source
        and rule.symptom == signal.symptom
        and rule.kind in ("", signal.target.kind)
        and rule.namespace in ("", signal.target.namespace)
        and rule.workload in ("", signal.target.name)
    )


def shortfalls(rule: RuleSpec, signal: SignalFacts) -> dict[str, Any]:
    """The thresholds that the signal misses: name → {"value", "limit"}. A value that it lacks misses its threshold."""
    pairs = {
        "score": (signal.score, rule.min_score),
        "probability": (signal.probability, rule.min_probability),
        "confidence": (signal.confidence, rule.min_confidence),
    }
    return {
        name: {"value": value, "limit": limit}
        for name, (value, limit) in pairs.items()
        if limit is not None and (value is None or value < limit)
    }


def propose(signal: SignalFacts, rules: Iterable[RuleSpec]) -> tuple[RuleSpec, Proposal] | Unmatched:
    """The first rule, in the order given, that matches and whose thresholds hold."""
    missed: dict[str, Any] = {}
    for rule in rules:
        if not matches(rule, signal):
            continue
        if missing := shortfalls(rule, signal):
            missed[rule.name] = missing
            continue
        return rule, Proposal(
            type=rule.action_type,
            target=signal.target,
            origin=Origin.CLOSED_LOOP,
            params=rule.params,
            reason=f"{signal.source} {signal.symptom} ({rule.name})",
            requested_by=actors.rule(rule.name),
        )
    if missed:
        names = ", ".join(missed)
        return Unmatched(f"The signal stays below the thresholds of: {names}.", missed, below_threshold=True)
    return Unmatched(f"No enabled rule matches {signal.source} signals of “{signal.symptom}”.")
