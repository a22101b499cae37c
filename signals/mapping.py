"""Signal and rules in, proposal out. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from signals import actors
from signals.figures import rounded_down
from signals.matchers import NotMatchersError, parse_matchers, unmet
from signals.names import name_matches
from signals.reasons import Reason
from signals.symptoms import SymptomMatch, similarity, symptom_matches
from signals.types import MEASURES, MINIMA, Origin, Proposal, RuleSpec, SignalFacts


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why a signal leads to no proposal: no rule matches it, or it stays below the thresholds of those that match.

    `details`: by the name of the rule, what the signal misses of it, as `conditions_missed` and `shortfalls` say."""

    message: str
    details: dict[str, Any] = field(default_factory=dict)
    below_threshold: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rule matches, but the problem has not lasted for long enough, or was not reported often enough. It may hold in
    `seconds`; None: with the next report."""

    rule: RuleSpec
    reason: Reason
    message: str
    details: dict[str, Any]
    seconds: float | None


def matches(rule: RuleSpec, signal: SignalFacts) -> bool:
    """Whether all conditions are met. Thresholds and time are left aside."""
    return all(is_met(rule, signal) for is_met in _IS_MET.values())


def conditions_missed(rule: RuleSpec, signal: SignalFacts) -> dict[str, Any]:
    """The conditions that are not met: name → {"value", "wanted"}."""
    return {name: _missed(name, rule, signal) for name, is_met in _IS_MET.items() if not is_met(rule, signal)}


def shortfalls(rule: RuleSpec, signal: SignalFacts) -> dict[str, Any]:
    """The thresholds that the signal misses: name → {"value", "limit"}. A value that it lacks misses its threshold."""
    return {
        name: {"value": value, "limit": limit}
        for name, value, limit in zip(MEASURES, _measures(signal), _minima(rule), strict=True)
        if limit is not None and (value is None or value < limit)
    }


def considered(signal: SignalFacts, rules: Iterable[RuleSpec]) -> tuple[RuleSpec, ...]:
    """Of the rules in the order given, those that `propose` needs for the same result: those that match, up to the one
    that proposes; if none matches, the nearest one."""
    given, matching = tuple(rules), []
    for rule in given:
        if matches(rule, signal):
            matching.append(rule)
            if not shortfalls(rule, signal) and waiting(rule, signal) is None:
                break
    return tuple(matching) if matching or not given else (nearest(given, signal),)


def propose(signal: SignalFacts, rules: Iterable[RuleSpec]) -> tuple[RuleSpec, Proposal] | Waiting | Unmatched:
    """The first rule, in the order given, that matches and whose thresholds and times hold. Without one, the rule that
    may be the first to hold."""
    given = tuple(rules)
    missed: dict[str, Any] = {}
    waits: list[Waiting] = []
    for rule in given:
        if not matches(rule, signal):
            continue
        if missing := shortfalls(rule, signal):
            missed[rule.name] = missing
        elif (wait := waiting(rule, signal)) is not None:
            waits.append(wait)
        else:
            return rule, proposal_of(rule, signal)
    if waits:
        return min(waits, key=lambda one: float("inf") if one.seconds is None else one.seconds)
    if missed:
        names = ", ".join(f"{name} ({_shortfalls_in_words(missing)})" for name, missing in missed.items())
        return Unmatched(f"The signal stays below the thresholds of: {names}.", missed, below_threshold=True)
    return _unmatched(signal, given)


def proposal_of(rule: RuleSpec, signal: SignalFacts) -> Proposal:
    return Proposal(
        type=rule.action_type,
        target=signal.target,
        origin=Origin.CLOSED_LOOP,
        params=rule.params,
        reason=f"{signal.source} {signal.symptom} ({rule.name})",
        requested_by=actors.rule(rule.name),
        mode=rule.mode,
    )


def waiting(rule: RuleSpec, signal: SignalFacts) -> Waiting | None:
    """What a rule that matches waits for. None if it may propose now."""
    reports = (signal.recent_reports & ((1 << rule.of_reports) - 1)).bit_count()
    if reports < rule.min_reports:
        message = (
            f"The rule {rule.name} waits until {rule.min_reports} of the last {rule.of_reports} reports say that the "
            f"problem is there; {reports} do."
        )
        details: dict[str, Any] = {"reports": {"value": reports, "limit": rule.min_reports, "of": rule.of_reports}}
        return Waiting(rule, Reason.TOO_FEW_REPORTS, message, details, None)
    if signal.lasted_seconds < rule.for_seconds:
        message = (
            f"The rule {rule.name} waits until the problem has lasted for {rule.for_seconds} s; "
            f"it has lasted for {rounded_down(signal.lasted_seconds)} s."
        )
        details = {"lasted_seconds": {"value": rounded_down(signal.lasted_seconds, 1), "limit": rule.for_seconds}}
        return Waiting(rule, Reason.NOT_LASTED, message, details, rule.for_seconds - signal.lasted_seconds)
    return None


def nearest(rules: Sequence[RuleSpec], signal: SignalFacts) -> RuleSpec:
    """The one of which the signal misses the fewest conditions; then the one with the most similar symptom."""

    def distance(rule: RuleSpec) -> tuple[bool, int, float]:
        missed = conditions_missed(rule, signal)
        alike = similarity(rule.symptom, signal.symptom) if "symptom" in missed else 1.0
        return "source" in missed, len(missed), -alike

    return min(rules, key=distance)


def _unmatched(signal: SignalFacts, rules: Sequence[RuleSpec]) -> Unmatched:
    message = f"No enabled rule matches this {signal.source} signal of “{signal.symptom}”."
    if not rules:
        return Unmatched(message)
    rule = nearest(rules, signal)
    missed = conditions_missed(rule, signal)
    return Unmatched(f"{message} The nearest rule is {rule.name}: {in_words(missed)}.", {rule.name: missed})


def in_words(missed: Mapping[str, Any]) -> str:
    """What `conditions_missed` says."""
    return "; ".join(_condition_in_words(name, one) for name, one in missed.items())


def _condition_in_words(name: str, missed: Mapping[str, Any]) -> str:
    if name == "labels":
        labels = "".join(f", and {label} is “{value}”" for label, value in missed["value"].items())
        return f"it needs {', '.join(missed['wanted'])}{labels}"
    return f"its {name} is “{missed['wanted']}”, and not “{missed['value']}”"


def _shortfalls_in_words(missing: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {'missing' if one['value'] is None else one['value']}, at least {one['limit']}"
        for name, one in missing.items()
    )


def _missed(name: str, rule: RuleSpec, signal: SignalFacts) -> dict[str, Any]:
    """What the signal has in place of what the condition asks for."""
    if name != "labels":
        return {"value": _VALUES[name](signal), "wanted": getattr(rule, name)}
    try:
        missed = unmet(parse_matchers(rule.labels), signal.labels)
    except NotMatchersError:  # it was not saved by the form
        return {"value": {}, "wanted": [rule.labels]}
    return {"value": {one.label: signal.labels.get(one.label, "") for one in missed}, "wanted": list(map(str, missed))}


def _meets_severity(rule: RuleSpec, signal: SignalFacts) -> bool:
    return not rule.severity or symptom_matches(SymptomMatch.ONE_OF, rule.severity, signal.severity)


def _meets_labels(rule: RuleSpec, signal: SignalFacts) -> bool:
    try:
        return not rule.labels or not unmet(parse_matchers(rule.labels), signal.labels)
    except NotMatchersError:
        return False


_measures, _minima = attrgetter(*MEASURES), attrgetter(*MINIMA)
# By the name of the condition: whether it is met, and what a signal has. The cheapest come first.
_IS_MET: dict[str, Callable[[RuleSpec, SignalFacts], bool]] = {
    "source": lambda rule, signal: rule.source == signal.source,
    "kind": lambda rule, signal: rule.kind in ("", signal.target.kind),
    "symptom": lambda rule, signal: symptom_matches(rule.symptom_match, rule.symptom, signal.symptom),
    "namespace": lambda rule, signal: name_matches(rule.namespace, signal.target.namespace),
    "workload": lambda rule, signal: name_matches(rule.workload, signal.target.name),
    "severity": _meets_severity,
    "labels": _meets_labels,
}
_VALUES: dict[str, Callable[[SignalFacts], str]] = {
    "source": attrgetter("source"),
    "kind": attrgetter("target.kind"),
    "symptom": attrgetter("symptom"),
    "namespace": attrgetter("target.namespace"),
    "workload": attrgetter("target.name"),
    "severity": attrgetter("severity"),
}
