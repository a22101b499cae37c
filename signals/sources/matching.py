"""What a rule may require of signals of a source: a symptom or a threshold that none of them has would never match."""

import re
from typing import get_args

from signals import patterns
from signals.invisible import invisible_problem
from signals.matchers import Matcher, Operator, contradiction, matchers_problem, parse_matchers
from signals.names import MAX_SYMPTOM, PRINTABLE, pattern_problems
from signals.sources.anomaly import AnomalySignal
from signals.sources.body import LABEL_NAME, MAX_NAME, MAX_VALUE
from signals.symptoms import SymptomMatch, one_of, symptom_matches
from signals.types import MEASURES, RuleSpec, Source

ANOMALY_TYPES: tuple[str, ...] = get_args(AnomalySignal.model_fields["type"].annotation)
THRESHOLDS = {Source.ANOMALY: ("min_score",), Source.RCA: ("min_probability", "min_confidence")}
MAX_FOR = 7 * 86_400  # seconds
MAX_REPORTS = 60  # that are remembered of a problem


def condition_mistakes(rule: RuleSpec) -> dict[str, str]:
    """By field: what has to be corrected before it can be said what the condition means."""
    found = pattern_problems(namespace=rule.namespace, workload=rule.workload) | {
        "symptom": _symptom_mistake(rule.symptom, rule.symptom_match),
        "severity": _severity_problem(rule.severity),
        "labels": matchers_problem(rule.labels),
        "for_seconds": "" if rule.for_seconds <= MAX_FOR else f"It is at most {MAX_FOR} s, a week.",
        "min_reports": _reports_problem(rule),
    }
    return {field: problem for field, problem in found.items() if problem}


def conditions_never_met(rule: RuleSpec) -> dict[str, str]:
    """By field: why no signal can meet the condition. Of a rule without mistakes."""
    found = {
        f"min_{name}": f"Signals of the source {rule.source} have no {name}."
        for name in MEASURES
        if getattr(rule, f"min_{name}") is not None and f"min_{name}" not in THRESHOLDS[rule.source]
    }
    found["symptom"] = _never_an_anomaly(rule.source, rule.symptom, rule.symptom_match)
    if not matchers_problem(rule.labels):
        matchers = parse_matchers(rule.labels)
        found["labels"] = contradiction(matchers) or next(filter(None, map(_never_a_label, matchers)), "")
    return {field: problem for field, problem in found.items() if problem}


def _symptom_mistake(symptom: str, match: SymptomMatch) -> str:
    if match is SymptomMatch.PATTERN:
        return patterns.pattern_problem(symptom)
    wanted = one_of(symptom) if match is SymptomMatch.ONE_OF else (symptom,)
    if not wanted:
        return "Name at least one symptom."
    for one in wanted:
        if problem := invisible_problem(one):
            return problem
        if not 1 <= len(one.strip()) <= MAX_SYMPTOM:
            return f"A symptom is a text of 1 to {MAX_SYMPTOM} characters."
    return ""


def _never_a_label(matcher: Matcher) -> str:
    """Why no label that a signal may have meets the matcher. A label that it lacks has the empty value."""
    if matcher.holds(""):
        return ""
    if len(matcher.label) > MAX_NAME or not re.fullmatch(LABEL_NAME, matcher.label):
        return f"No signal meets {matcher}: it has no label with the name “{matcher.label}”."
    if matcher.operator is Operator.EQUAL and len(matcher.value) > MAX_VALUE:
        return f"No signal meets the matcher of “{matcher.label}”: a value has at most {MAX_VALUE} characters."
    if matcher.operator is Operator.EQUAL and not re.fullmatch(PRINTABLE, matcher.value):
        return f"No signal meets {matcher}: a value has no control characters."
    return ""


def _never_an_anomaly(source: Source, symptom: str, match: SymptomMatch) -> str:
    """Of several symptoms, each has to be one."""
    wanted = one_of(symptom) if match is SymptomMatch.ONE_OF else (symptom,)
    each = SymptomMatch.EQUAL if match is SymptomMatch.ONE_OF else match
    known = ", ".join(ANOMALY_TYPES)
    for one in wanted if source is Source.ANOMALY else ():
        if not any(symptom_matches(each, one, type_) for type_ in ANOMALY_TYPES):
            what = "matches this pattern" if match is SymptomMatch.PATTERN else f"has the type “{one}”"
            return f"No anomaly {what}. The types are {known}."
    return ""


def _severity_problem(severity: str) -> str:
    if severity and not one_of(severity):
        return "Name at least one severity, or leave the field empty for any."
    return invisible_problem(severity)


def _reports_problem(rule: RuleSpec) -> str:
    if (rule.min_reports, rule.of_reports) == (0, 0) or 1 <= rule.min_reports <= rule.of_reports <= MAX_REPORTS:
        return ""
    return (
        f"At least {rule.min_reports} of the last {rule.of_reports} reports is not possible. Enter two numbers from 1 "
        f"to {MAX_REPORTS}, the first one not above the second, or 0 for both."
    )
