"""What a rule would make of signals that are stored, before it is saved. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from signals.mapping import conditions_missed, in_words, proposal_of, propose, shortfalls, waiting
from signals.matchers import implied, parse_matchers
from signals.names import is_pattern, name_matches
from signals.sources.matching import ANOMALY_TYPES
from signals.symptoms import SymptomMatch, one_of, symptom_key, symptom_matches
from signals.types import MINIMA, Proposal, RuleSpec, SignalFacts, Source


class Fit(StrEnum):
    """What a rule makes of a signal."""

    PROPOSES = "proposes"
    SHADOWED = "shadowed"  # it would propose, but a rule that is tried before proposes first
    WAITS = "waits"  # for the problem to last, or for more reports
    BELOW_THRESHOLD = "below_threshold"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class Trial:
    """Of a rule on one signal. `details` are those of the fit: what was missed, or the rule that proposes before."""

    signal: SignalFacts
    fit: Fit
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    proposal: Proposal | None = None


def try_on(rule: RuleSpec, earlier: Sequence[RuleSpec], signal: SignalFacts) -> Trial:
    """`earlier`: the enabled rules that are tried before, in their order."""
    if missed := conditions_missed(rule, signal):
        return Trial(signal, Fit.UNMATCHED, f"The rule does not match: {in_words(missed)}.", missed)
    if missing := shortfalls(rule, signal):
        return Trial(signal, Fit.BELOW_THRESHOLD, "The signal stays below a threshold of the rule.", missing)
    if (wait := waiting(rule, signal)) is not None:
        return Trial(signal, Fit.WAITS, wait.message, wait.details)
    proposal = proposal_of(rule, signal)
    match propose(signal, earlier):
        case (first, _):
            message = f"The rule {first.name} is tried before, and proposes {first.action_type}."
            return Trial(signal, Fit.SHADOWED, message, {"rule": first.name}, proposal)
    return Trial(signal, Fit.PROPOSES, f"The rule proposes {rule.action_type}.", {}, proposal)


def shadow(rule: RuleSpec, earlier: Sequence[RuleSpec]) -> RuleSpec | None:
    """The first rule that is tried before and holds for every signal for which `rule` holds. None if that cannot be
    said of any."""
    return next((one for one in earlier if _covers(one, rule)), None)


def _covers(one: RuleSpec, other: RuleSpec) -> bool:
    return (
        one.source == other.source
        and one.kind in ("", other.kind)
        and _covers_symptoms(one, other)
        and _covers_names(one.namespace, other.namespace)
        and _covers_names(one.workload, other.workload)
        and _covers_severities(one.severity, other.severity)
        and all(implied(matcher, parse_matchers(other.labels)) for matcher in parse_matchers(one.labels))
        and all(_covers_threshold(getattr(one, name), getattr(other, name)) for name in MINIMA)
        and one.for_seconds <= other.for_seconds
        and (one.min_reports == 0 or (one.of_reports == other.of_reports and one.min_reports <= other.min_reports))
    )


def _covers_symptoms(one: RuleSpec, other: RuleSpec) -> bool:
    if other.symptom_match is SymptomMatch.PATTERN and other.source is not Source.ANOMALY:
        return one.symptom_match is SymptomMatch.PATTERN and one.symptom in (other.symptom, ".*", ".+")
    symptoms: Sequence[str] = (other.symptom,)
    if other.symptom_match is SymptomMatch.ONE_OF:
        symptoms = one_of(other.symptom)
    elif other.symptom_match is SymptomMatch.PATTERN:
        symptoms = [type_ for type_ in ANOMALY_TYPES if symptom_matches(other.symptom_match, other.symptom, type_)]
    return all(symptom_matches(one.symptom_match, one.symptom, symptom) for symptom in symptoms)


def _covers_names(one: str, other: str) -> bool:
    return one in ("", other) or (other != "" and not is_pattern(other) and name_matches(one, other))


def _covers_severities(one: str, other: str) -> bool:
    if one == "" or other == "":
        return one == ""
    return set(map(symptom_key, one_of(other))) <= set(map(symptom_key, one_of(one)))


def _covers_threshold(one: float | None, other: float | None) -> bool:
    return one is None or (other is not None and one <= other)
