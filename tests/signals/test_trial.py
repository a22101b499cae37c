"""What a rule would make of stored signals."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from signals.mapping import Waiting, propose
from signals.symptoms import SymptomMatch
from signals.trial import Fit, shadow, try_on
from signals.types import ActionType, Kind, RuleSpec, SignalFacts, Source, Target
from tests.signals.test_mapping import RULES, SIGNALS

ONE_OF, PATTERN = SymptomMatch.ONE_OF, SymptomMatch.PATTERN
SIGNAL = SignalFacts(
    "s",
    Source.RCA,
    Target("default", "shop", "api"),
    "memory_leak",
    datetime(2026, 1, 1, tzinfo=UTC),
    resolved=False,
    probability=0.9,
    confidence=0.9,
    labels={"team": "a"},
)


def rule(name: str = "mine", **fields: Any) -> RuleSpec:
    plain = RuleSpec(1, 1, name, Source.RCA, "memory_leak", ActionType.RESTART, {})
    return replace(plain, **fields)


@pytest.mark.parametrize(
    ("fields", "fit", "said"),
    [
        ({}, Fit.PROPOSES, "The rule proposes RESTART."),
        ({"symptom": "oom"}, Fit.UNMATCHED, "its symptom is “oom”, and not “memory_leak”"),
        ({"labels": "team=b"}, Fit.UNMATCHED, 'it needs team="b", and team is “a”'),
        ({"min_confidence": 0.95}, Fit.BELOW_THRESHOLD, "below a threshold"),
        ({"for_seconds": 60}, Fit.WAITS, "waits until the problem has lasted for 60 s"),
    ],
)
def test_a_rule_fits_a_signal_or_misses_something(fields: dict[str, Any], fit: Fit, said: str) -> None:
    trial = try_on(rule(**fields), [rule("other", symptom="oom")], SIGNAL)
    assert (trial.fit, trial.proposal is not None) == (fit, fit is Fit.PROPOSES)
    assert said in trial.message
    assert bool(trial.details) is (fit is not Fit.PROPOSES)


def test_a_rule_that_is_tried_before_takes_the_signal() -> None:
    trial = try_on(rule(), [rule("strict", min_confidence=1.0), rule("first")], SIGNAL)
    assert (trial.fit, trial.details) == (Fit.SHADOWED, {"rule": "first"})


@pytest.mark.parametrize(
    ("earlier", "fields", "covered"),
    [
        ({}, {}, True),
        ({"symptom": "Memory Leak"}, {}, True),
        ({"source": Source.ANOMALY}, {}, False),
        ({"symptom": "oom"}, {}, False),
        ({"symptom": "oom, memory-leak", "symptom_match": ONE_OF}, {}, True),
        ({"symptom": "mem.*", "symptom_match": PATTERN}, {}, True),
        ({"symptom": "mem.*", "symptom_match": PATTERN}, {"symptom": "memory, oom", "symptom_match": ONE_OF}, False),
        ({}, {"symptom": "memory_leak, memory-leak", "symptom_match": ONE_OF}, True),
        ({}, {"symptom": "mem.*", "symptom_match": PATTERN}, False),
        ({"symptom": ".*", "symptom_match": PATTERN}, {"symptom": "mem.*", "symptom_match": PATTERN}, True),
        ({"symptom": "m.*", "symptom_match": PATTERN}, {"symptom": "mem.*", "symptom_match": PATTERN}, False),
        ({}, {"kind": Kind.STATEFUL_SET}, True),
        ({"kind": Kind.STATEFUL_SET}, {}, False),
        ({}, {"namespace": "shop", "workload": "a.*"}, True),
        ({"namespace": "shop"}, {}, False),
        ({"namespace": "sh.*"}, {"namespace": "shop"}, True),
        ({"namespace": "sh.*"}, {"namespace": "sho.*"}, False),  # patterns are not compared
        ({"workload": "a.*"}, {"workload": "b"}, False),
        ({}, {"severity": "critical"}, True),
        ({"severity": "critical"}, {}, False),
        ({"severity": "critical, major"}, {"severity": "Major"}, True),
        ({"severity": "critical"}, {"severity": "critical, major"}, False),
        ({"labels": "team=a"}, {"labels": "zone=b, team=a"}, True),
        ({"labels": "team=a"}, {}, False),
        ({"min_probability": 0.7}, {}, False),
        ({"min_probability": 0.7}, {"min_probability": 0.8}, True),
        ({"min_probability": 0.8}, {"min_probability": 0.7}, False),
        ({"for_seconds": 60}, {}, False),
        ({}, {"for_seconds": 60}, True),
        ({"min_reports": 2, "of_reports": 5}, {"min_reports": 3, "of_reports": 5}, True),
        ({"min_reports": 2, "of_reports": 4}, {"min_reports": 3, "of_reports": 5}, False),
        ({}, {"min_reports": 3, "of_reports": 5}, True),
    ],
)
def test_a_rule_is_shadowed_by_one_that_holds_wherever_it_holds(
    earlier: dict[str, Any], fields: dict[str, Any], covered: bool
) -> None:
    first = rule("first", **earlier)
    assert shadow(rule(**fields), [first]) == (first if covered else None)


def test_a_pattern_of_anomalies_is_a_list_of_their_types() -> None:
    first = rule("first", source=Source.ANOMALY, symptom="resource, latency", symptom_match=ONE_OF)
    later = replace(first, name="later", symptom=".*(resou|late).*", symptom_match=PATTERN)
    assert shadow(later, [first]) == first
    assert shadow(replace(later, symptom=".*"), [first]) is None


@given(SIGNALS, RULES)
def test_a_shadowed_rule_never_proposes(seen: SignalFacts, rules: list[RuleSpec]) -> None:
    for place, one in enumerate(rules):
        if (first := shadow(one, rules[:place])) is not None:
            match propose(seen, [one]):
                case Waiting():
                    pass
                case (_, _):
                    assert isinstance(propose(seen, [first]), tuple)
