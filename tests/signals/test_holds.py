"""A hold has an interval for each value of a signal: within them, the rules give the same result."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.holds import Hold, Interval, hold, until_it_differs
from signals.mapping import propose
from signals.symptoms import SymptomMatch
from signals.types import ActionType, RuleSpec, SignalFacts, Source, Target

SIGNAL = SignalFacts(
    id="s",
    source=Source.RCA,
    target=Target("default", "shop", "web"),
    symptom="memory_leak",
    last_seen_at=datetime(2026, 1, 1, tzinfo=UTC),
    resolved=False,
)
RULE = RuleSpec(1, 1, "restart", Source.RCA, "memory_leak", ActionType.RESTART, {})
VALUES = st.none() | st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]) | st.floats(0, 1)


Values = tuple[float | None, float | None, float | None]


def signal(
    score: float | None = None, probability: float | None = None, confidence: float | None = None
) -> SignalFacts:
    return replace(SIGNAL, score=score, probability=probability, confidence=confidence)


def within(value: float | None, interval: Interval) -> bool:
    """As `signals_within` of the database."""
    if interval is None or value is None:
        return interval is None and value is None
    least, below = interval
    return (least is None or value >= least) and (below is None or value < below)


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES, st.sampled_from(["", "web", "db"])), max_size=4),
    st.tuples(VALUES, VALUES, VALUES),
    st.tuples(VALUES, VALUES, VALUES),
)
def test_within_a_hold_the_rules_give_the_same_result(
    limits: list[tuple[float | None, float | None, float | None, str]], first: Values, then: Values
) -> None:
    rules = [
        replace(RULE, id=n, name=str(n), min_score=a, min_probability=b, min_confidence=c, workload=workload)
        for n, (a, b, c, workload) in enumerate(limits)
    ]
    found: Hold | None = hold(signal(*first), rules, 7)

    assert found is not None
    assert found["settings"] == 7
    if all(map(within, then, found["within"].values())):
        assert type(propose(signal(*first), rules)) is type(propose(signal(*then), rules))
        before, after = propose(signal(*first), rules), propose(signal(*then), rules)
        if isinstance(before, tuple):
            assert before == after


@pytest.mark.parametrize(
    ("value", "limits", "interval"),
    [
        (None, [0.8], None),
        (0.5, [], [None, None]),
        (0.5, [None, 0.8], [None, 0.8]),
        (0.8, [0.8, 0.9], [0.8, 0.9]),
        (1.0, [0.8, 0.9], [0.9, None]),
    ],
)
def test_the_interval_ends_at_the_nearest_threshold_each_way(
    value: float | None, limits: list[float | None], interval: Interval
) -> None:
    found = hold(signal(value), [replace(RULE, min_score=limit) for limit in limits], 0)

    assert found is not None
    assert found["within"]["score"] == interval


def test_a_deferred_signal_has_intervals_whatever_else_the_rules_ask_for() -> None:
    rules = [replace(RULE, min_score=0.5, severity="critical"), replace(RULE, min_score=0.9, for_seconds=60)]

    assert until_it_differs(signal(0.6), rules) == {
        "within": {"score": [0.5, 0.9], "probability": None, "confidence": None}
    }


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({}, True),
        ({"symptom_match": SymptomMatch.PATTERN, "symptom": "memory.*"}, True),
        ({"severity": "critical"}, False),
        ({"labels": 'team="shop"'}, False),
        ({"for_seconds": 60}, False),
        ({"min_reports": 2, "of_reports": 3}, False),
        ({"severity": "critical", "workload": "db"}, True),  # no report of the problem meets it
        ({"labels": 'team="shop"', "symptom": "deadlock"}, True),
    ],
)
def test_no_decision_holds_where_a_rule_asks_for_what_differs_from_report_to_report(
    conditions: dict[str, Any], holds: bool
) -> None:
    assert (hold(signal(), [replace(RULE, **conditions)], 0) is not None) is holds
