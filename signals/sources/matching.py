"""What a rule may ask of the signals of a source: a symptom or a threshold that none of them has would never match."""

from typing import get_args

from signals import patterns
from signals.matchers import matchers_problem
from signals.names import MAX_SYMPTOM, invisible_character, pattern_problems
from signals.sources.anomaly import AnomalySignal
from signals.symptoms import SymptomMatch, one_of, symptom_matches
from signals.types import RuleSpec, Source

ANOMALY_TYPES: tuple[str, ...] = get_args(AnomalySignal.model_fields["type"].annotation)
THRESHOLDS = {Source.ANOMALY: ("min_score",), Source.RCA: ("min_probability", "min_confidence")}
MAX_FOR = 7 * 86_400  # seconds
MAX_REPORTS = 60  # that are remembered of a problem


def condition_problems(rule: RuleSpec) -> dict[str, str]:
    """By field: why the condition has a mistake, or why no signal can meet it."""
    found = pattern_problems(namespace=rule.namespace, workload=rule.workload)
    found |= {
        f"min_{name}": f"Signals of the source {rule.source} have no {name}."
        for name in ("score", "probability", "confidence")
        if getattr(rule, f"min_{name}") is not None and f"min_{name}" not in THRESHOLDS[rule.source]
    }
    for field, problem in (
        ("symptom", symptom_problem(rule.source, rule.symptom, rule.symptom_match)),
        ("severity", _severity_problem(rule.severity)),
        ("labels", matchers_problem(rule.labels)),
        ("for_seconds", "" if rule.for_seconds <= MAX_FOR else f"It is at most {MAX_FOR} s, a week."),
        ("min_reports", _reports_problem(rule)),
    ):
        if problem:
            found[field] = problem
    return found


def symptom_problem(source: Source, symptom: str, match: SymptomMatch = SymptomMatch.EQUAL) -> str:
    """Why the condition has a mistake, or why no signal of the source can meet it. Empty if one can."""
    if match is SymptomMatch.PATTERN:
        return patterns.pattern_problem(symptom) or _anomaly_problem(source, symptom, match)
    wanted = one_of(symptom) if match is SymptomMatch.ONE_OF else (symptom,)
    if not wanted:
        return "Name at least one symptom."
    for one in wanted:
        if hidden := invisible_character(one):
            return f"It contains the invisible character {hidden}."
        if not 1 <= len(one.strip()) <= MAX_SYMPTOM:
            return f"A symptom is a text of 1 to {MAX_SYMPTOM} characters."
    return next(filter(None, (_anomaly_problem(source, one, SymptomMatch.EQUAL) for one in wanted)), "")


def _anomaly_problem(source: Source, symptom: str, match: SymptomMatch) -> str:
    if source is not Source.ANOMALY or any(symptom_matches(match, symptom, one) for one in ANOMALY_TYPES):
        return ""
    known = ", ".join(ANOMALY_TYPES)
    what = "matches this pattern" if match is SymptomMatch.PATTERN else f"has the type “{symptom}”"
    return f"No anomaly {what}. The types are {known}."


def _severity_problem(severity: str) -> str:
    hidden = invisible_character(severity)
    return f"It contains the invisible character {hidden}." if hidden else ""


def _reports_problem(rule: RuleSpec) -> str:
    if (rule.min_reports, rule.of_reports) == (0, 0) or 1 <= rule.min_reports <= rule.of_reports <= MAX_REPORTS:
        return ""
    return (
        f"At least {rule.min_reports} of the last {rule.of_reports} reports is not possible. Enter two numbers from 1 "
        f"to {MAX_REPORTS}, the first one not above the second, or 0 for both."
    )
