"""Signal and rules in, proposal out."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.mapping import Unmatched, matches, propose, shortfalls
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, Kind, Origin, RuleSpec, SignalFacts, Source, Target
from tests.kit.rules import DEFAULT_RULES

TARGET = Target("default", "smartops-dev", "erp-simulator")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def signal(**fields: Any) -> SignalFacts:
    plain = SignalFacts("s", Source.ANOMALY, TARGET, "resource", NOW, resolved=False, score=0.95)
    return replace(plain, **fields)


def rule(name: str = "scale-up", **fields: Any) -> RuleSpec:
    plain = RuleSpec(1, 1, name, Source.ANOMALY, "resource", ActionType.SCALE, {"delta": 1})
    return replace(plain, **fields)


def chosen(signal: SignalFacts, *rules: RuleSpec) -> str | None:
    """The name of the rule that proposes."""
    match propose(signal, rules):
        case Unmatched():
            return None
        case spec, _:
            return spec.name


def test_the_proposal_is_what_the_rule_says_about_what_the_signal_names() -> None:
    match propose(signal(), [rule(params={"replicas": 4})]):
        case spec, proposal:
            assert spec == rule(params={"replicas": 4})
            assert (proposal.type, proposal.target, proposal.params) == (ActionType.SCALE, TARGET, {"replicas": 4})
            assert proposal.origin is Origin.CLOSED_LOOP
            assert proposal.reason == "anomaly resource (scale-up)"
            assert proposal.verify
            assert not proposal.dry_run
        case unmatched:
            pytest.fail(str(unmatched))


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ({}, True),
        ({"namespace": "smartops-dev"}, True),
        ({"kind": Kind.DEPLOYMENT}, True),
        ({"kind": Kind.STATEFUL_SET}, False),
        ({"kind": Kind.DAEMON_SET, "workload": "erp-simulator"}, False),
        ({"workload": "erp-simulator"}, True),
        ({"namespace": "smartops-dev", "workload": "erp-simulator"}, True),
        ({"namespace": "production"}, False),
        ({"workload": "erp"}, False),
        ({"namespace": "smartops-dev", "workload": "other"}, False),
        ({"namespace": "production", "workload": "erp-simulator"}, False),
        ({"source": Source.RCA}, False),
        ({"symptom": "latency"}, False),
        ({"symptom": "resources"}, False),
        ({"symptom": ""}, False),
    ],
)
def test_a_rule_speaks_of_its_own_scope(scope: dict[str, Any], held: bool) -> None:
    assert matches(rule(**scope), signal()) is held
    assert (chosen(signal(), rule(**scope)) is not None) is held


@pytest.mark.parametrize("threshold", ["score", "probability", "confidence"])
@pytest.mark.parametrize(
    ("value", "limit", "held"),
    [
        (0.8, 0.8, True),  # a threshold is reached, not exceeded
        (0.81, 0.8, True),
        (0.79, 0.8, False),
        (None, 0.8, False),  # what the source does not say cannot reach a threshold
        (None, 0.0, False),
        (0.0, 0.0, True),
        (0.0, None, True),
        (None, None, True),
    ],
)
def test_a_threshold_holds_from_its_own_value_on(
    threshold: str, value: float | None, limit: float | None, held: bool
) -> None:
    says: dict[str, Any] = {"score": None, threshold: value}
    asks: dict[str, Any] = {f"min_{threshold}": limit}
    seen, spec = signal(**says), rule(**asks)

    assert shortfalls(spec, seen) == ({} if held else {threshold: {"value": value, "limit": limit}})
    assert (chosen(seen, spec) is not None) is held


def test_the_first_rule_that_holds_proposes() -> None:
    rules = [
        rule("elsewhere", namespace="production"),
        rule("too-strict", min_score=0.99),
        rule("first"),
        rule("second"),
    ]

    assert chosen(signal(), *rules) == "first"
    assert chosen(signal(score=0.99), *rules) == "too-strict"
    assert chosen(signal(), *reversed(rules)) == "second"


def test_nothing_is_proposed_where_no_rule_speaks() -> None:
    answer = propose(signal(), [rule(symptom="latency")])

    assert isinstance(answer, Unmatched)
    assert (answer.below_threshold, answer.details) == (False, {})
    assert "anomaly signals of “resource”" in answer.message


def test_every_missed_threshold_is_told_by_its_rule() -> None:
    strict, stricter = rule("strict", min_score=0.96), rule("stricter", min_score=0.99, min_probability=0.5)

    answer = propose(signal(), [strict, rule("elsewhere", workload="other", min_score=1.0), stricter])

    assert isinstance(answer, Unmatched)
    assert answer.below_threshold
    assert answer.details == {
        "strict": {"score": {"value": 0.95, "limit": 0.96}},
        "stricter": {"score": {"value": 0.95, "limit": 0.99}, "probability": {"value": None, "limit": 0.5}},
    }
    assert answer.message == "The signal stays below the thresholds of: strict, stricter."


FRACTIONS = st.none() | st.floats(0, 1)
SIGNALS = st.builds(
    SignalFacts,
    id=st.just("s"),
    source=st.sampled_from(Source),
    target=st.builds(Target, st.just("default"), st.sampled_from("ab"), st.sampled_from("xy")),
    symptom=st.sampled_from(["resource", "latency"]),
    last_seen_at=st.just(NOW),
    resolved=st.booleans(),
    score=FRACTIONS,
    probability=FRACTIONS,
    confidence=FRACTIONS,
)
RULES = st.lists(
    st.builds(
        RuleSpec,
        id=st.integers(1, 99),
        version=st.just(1),
        name=st.text("abcdef", min_size=1, max_size=3),
        source=st.sampled_from(Source),
        symptom=st.sampled_from(["resource", "latency"]),
        action_type=st.sampled_from(ActionType),
        params=st.just({}),
        namespace=st.sampled_from(["", "a", "b"]),
        workload=st.sampled_from(["", "x", "y"]),
        min_score=FRACTIONS,
        min_probability=FRACTIONS,
        min_confidence=FRACTIONS,
    ),
    max_size=8,
)


@given(SIGNALS, RULES)
def test_the_choice_is_the_first_of_those_that_match_and_miss_nothing(seen: SignalFacts, rules: list[RuleSpec]) -> None:
    holding = [one for one in rules if matches(one, seen) and not shortfalls(one, seen)]
    match propose(seen, iter(rules)):
        case Unmatched(_, details, below_threshold):
            assert not holding
            assert below_threshold == any(matches(one, seen) for one in rules)
            assert set(details) == {one.name for one in rules if matches(one, seen)}
        case spec, proposal:
            assert spec is holding[0]
            assert (proposal.type, proposal.target) == (spec.action_type, seen.target)


@given(SIGNALS, RULES, st.data())
def test_rules_that_do_not_speak_of_it_change_nothing(
    seen: SignalFacts, rules: list[RuleSpec], data: st.DataObject
) -> None:
    others = [one for one in data.draw(RULES) if not matches(one, seen)]
    place = data.draw(st.integers(0, len(rules)))

    assert propose(seen, [*rules[:place], *others, *rules[place:]]) == propose(seen, rules)


@given(SIGNALS, RULES, st.sampled_from(["score", "probability", "confidence"]), st.floats(0, 1))
def test_a_louder_signal_never_loses_its_proposal(
    seen: SignalFacts, rules: list[RuleSpec], name: str, value: float
) -> None:
    raised: dict[str, Any] = {name: max(value, getattr(seen, name) or 0.0)}
    louder = replace(seen, **raised)
    if not isinstance(propose(seen, rules), Unmatched):
        assert not isinstance(propose(louder, rules), Unmatched)


DEFAULTS = [RuleSpec(**{"id": 1, "version": 1, **fields}) for fields in DEFAULT_RULES]


def test_the_default_rules_are_valid_and_none_hides_another() -> None:
    for spec in DEFAULTS:
        assert PROPOSAL_TYPES[ActionType(spec.action_type)].problem(spec.params) == ""
    assert len({(spec.source, spec.symptom) for spec in DEFAULTS}) == len(DEFAULTS)


def test_by_default_resource_anomalies_scale_up_and_memory_leaks_restart() -> None:
    leak = signal(source=Source.RCA, symptom="memory_leak", score=None, probability=0.93, confidence=0.93)

    assert chosen(signal(), *DEFAULTS) == "resource-scale-up"
    assert chosen(leak, *DEFAULTS) == "memory-leak-restart"
