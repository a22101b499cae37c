"""Signal and rules in, proposal out."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.mapping import Unmatched, Waiting, considered, matches, propose, shortfalls, waiting
from signals.proposals import PROPOSAL_TYPES
from signals.reasons import Reason
from signals.symptoms import SymptomMatch
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
        case Unmatched() | Waiting():
            return None
        case (spec, _):
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
        case other:
            pytest.fail(str(other))


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
    assert propose(signal(), []) == Unmatched("No enabled rule matches this anomaly signal of “resource”.")


@pytest.mark.parametrize(
    ("conditions", "missed"),
    [
        ({"symptom": "latency"}, "its symptom is “latency”, and not “resource”"),
        ({"namespace": "shop-.*"}, "its namespace is “shop-.*”, and not “smartops-dev”"),
        ({"severity": "critical"}, "its severity is “critical”, and not “”"),
        ({"labels": 'team="a", zone=b'}, 'it needs team="a", and team is “z”'),
        ({"labels": "team"}, "it needs team"),  # not saved by the form
        (
            {"kind": Kind.DAEMON_SET, "workload": "web"},
            "its kind is “DaemonSet”, and not “Deployment”; its workload is “web”, and not “erp-simulator”",
        ),
    ],
)
def test_a_signal_that_no_rule_matches_names_the_nearest_one_and_what_was_missing(
    conditions: dict[str, Any], missed: str
) -> None:
    near, far = (
        rule("near", **conditions),
        rule("far", symptom="error", namespace="a", workload="b", kind=Kind.DAEMON_SET),
    )
    seen = signal(labels={"team": "z", "zone": "b"})

    answer = propose(seen, [rule("other-source", source=Source.RCA, **conditions), far, near])

    assert isinstance(answer, Unmatched)
    assert not answer.below_threshold
    assert answer.message.endswith(f"The nearest rule is near: {missed}.")
    assert list(answer.details) == ["near"]


def test_of_rules_that_differ_in_the_symptom_the_most_similar_one_is_the_nearest() -> None:
    rules = [rule("latency", symptom="latency"), rule("leak", symptom="memory-leak"), rule("error", symptom="error")]
    answer = propose(signal(symptom="memory leek"), rules)

    assert isinstance(answer, Unmatched)
    assert answer.details == {"leak": {"symptom": {"value": "memory leek", "wanted": "memory-leak"}}}


@pytest.mark.parametrize(
    ("conditions", "seen", "held"),
    [
        ({"symptom": "Memory Leak"}, {"symptom": "memory_leak"}, True),
        ({"symptom": "memory-leak, oom", "symptom_match": "one_of"}, {"symptom": "OOM"}, True),
        ({"symptom": "memory-leak, oom", "symptom_match": "one_of"}, {"symptom": "memory"}, False),
        ({"symptom": "memory_.*", "symptom_match": "pattern"}, {"symptom": "Memory Pressure"}, True),
        ({"symptom": "memory_.*", "symptom_match": "pattern"}, {"symptom": "no memory"}, False),
        ({"namespace": "smartops-.*"}, {}, True),
        ({"namespace": "smartops"}, {}, False),
        ({"workload": "erp-.*|crm"}, {}, True),
        ({"workload": "erp.simulator"}, {}, False),  # a dot is a part of a name
        ({"kind": Kind.DEPLOYMENT}, {}, True),
        ({"kind": Kind.STATEFUL_SET}, {}, False),
        ({"severity": "Critical, major"}, {"severity": "critical"}, True),
        ({"severity": "critical"}, {"severity": ""}, False),
        ({"labels": "team=a"}, {"labels": {"team": "a"}}, True),
        ({"labels": "team=a"}, {"labels": {}}, False),
        ({"labels": "team!=a"}, {"labels": {}}, True),
    ],
)
def test_a_rule_matches_by_all_of_its_conditions(conditions: dict[str, Any], seen: dict[str, Any], held: bool) -> None:
    if "symptom_match" in conditions:
        conditions = conditions | {"symptom_match": SymptomMatch(conditions["symptom_match"])}
    assert matches(rule(**conditions), signal(**seen)) is held


@pytest.mark.parametrize(
    ("asks", "seen", "reason", "seconds"),
    [
        ({"for_seconds": 60}, {"lasted_seconds": 59.0}, Reason.NOT_LASTED, 1.0),
        ({"for_seconds": 60}, {"lasted_seconds": 60.0}, None, None),
        ({"min_reports": 3, "of_reports": 5}, {"recent_reports": 0b10101}, None, None),
        ({"min_reports": 3, "of_reports": 5}, {"recent_reports": 0b1010001}, Reason.TOO_FEW_REPORTS, None),
        ({"min_reports": 2, "of_reports": 2}, {"recent_reports": 0b1}, Reason.TOO_FEW_REPORTS, None),
        ({"min_reports": 2, "of_reports": 2, "for_seconds": 9}, {"recent_reports": 0b11}, Reason.NOT_LASTED, 9.0),
    ],
)
def test_a_rule_waits_until_the_problem_has_lasted_and_was_reported_often_enough(
    asks: dict[str, Any], seen: dict[str, Any], reason: Reason | None, seconds: float | None
) -> None:
    match propose(signal(**seen), [rule(**asks), rule("strict", min_score=1.0)]):
        case Waiting(spec, why, message, details, wait):
            assert (spec.name, why, wait) == ("scale-up", reason, seconds)
            assert "scale-up" in message
            assert details
        case (spec, _):
            assert reason is None
        case Unmatched(message):
            pytest.fail(message)


def test_a_rule_that_waits_leaves_the_signal_to_a_later_one_that_holds() -> None:
    assert chosen(signal(), rule("later", for_seconds=600), rule("now")) == "now"


def test_of_rules_that_wait_the_one_that_may_hold_first_decides_when_the_signal_is_due() -> None:
    reports = rule("reports", min_reports=2, of_reports=2)
    answer = propose(
        signal(lasted_seconds=10.0), [reports, rule("slow", for_seconds=600), rule("fast", for_seconds=60)]
    )

    assert isinstance(answer, Waiting)
    assert (answer.rule.name, answer.seconds) == ("fast", 50.0)


def test_every_missed_threshold_is_told_by_its_rule() -> None:
    strict, stricter = rule("strict", min_score=0.96), rule("stricter", min_score=0.99, min_probability=0.5)

    answer = propose(signal(), [strict, rule("elsewhere", workload="other", min_score=1.0), stricter])

    assert isinstance(answer, Unmatched)
    assert answer.below_threshold
    assert answer.details == {
        "strict": {"score": {"value": 0.95, "limit": 0.96}},
        "stricter": {"score": {"value": 0.95, "limit": 0.99}, "probability": {"value": None, "limit": 0.5}},
    }
    assert answer.message == (
        "The signal stays below the thresholds of: strict (score 0.95, at least 0.96), "
        "stricter (score 0.95, at least 0.99, probability missing, at least 0.5)."
    )


def test_of_the_rules_those_that_lead_to_the_result_are_considered() -> None:
    slow, strict, elsewhere = rule("slow", for_seconds=9), rule("strict", min_score=1.0), rule("else", symptom="error")
    holds, later = rule("holds"), rule("later")

    assert considered(signal(), [elsewhere, slow, strict, holds, later]) == (slow, strict, holds)
    assert considered(signal(), [elsewhere, strict]) == (strict,)
    assert considered(signal(), [rule("far", symptom="a", kind=Kind.DAEMON_SET), elsewhere]) == (elsewhere,)
    assert considered(signal(), []) == ()


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
    severity=st.sampled_from(["", "critical"]),
    labels=st.dictionaries(st.sampled_from(["team", "zone"]), st.sampled_from("ab")),
    lasted_seconds=st.floats(0, 100),
    recent_reports=st.integers(0, 15),
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
        severity=st.sampled_from(["", "critical", "critical, minor"]),
        labels=st.sampled_from(["", "team=a", "zone!=b, team=~a|b"]),
        for_seconds=st.sampled_from([0, 50]),
        min_reports=st.sampled_from([0, 2]),
        of_reports=st.just(3),
    ),
    max_size=8,
)


@given(SIGNALS, RULES)
def test_the_choice_is_the_first_of_those_that_match_and_miss_nothing(seen: SignalFacts, rules: list[RuleSpec]) -> None:
    matching = [one for one in rules if matches(one, seen)]
    met = [one for one in matching if not shortfalls(one, seen)]
    match propose(seen, iter(rules)):
        case Unmatched(_, details, below_threshold):
            assert not met
            assert below_threshold == bool(matching)
            assert bool(details) == bool(rules)
        case Waiting(spec):
            assert spec in met
            assert all(waiting(one, seen) for one in met)
        case (spec, proposal):
            assert spec is next(one for one in met if waiting(one, seen) is None)
            assert (proposal.type, proposal.target) == (spec.action_type, seen.target)


@given(SIGNALS, RULES)
def test_the_rules_that_are_considered_lead_to_the_same_result(seen: SignalFacts, rules: list[RuleSpec]) -> None:
    stored = considered(seen, rules)

    assert propose(seen, stored) == propose(seen, rules)
    assert considered(seen, stored) == stored


@given(SIGNALS, RULES, st.data())
def test_rules_that_do_not_speak_of_it_change_nothing(
    seen: SignalFacts, rules: list[RuleSpec], data: st.DataObject
) -> None:
    others = [one for one in data.draw(RULES) if not matches(one, seen)]
    place = data.draw(st.integers(0, len(rules)))

    answer, more = propose(seen, rules), propose(seen, [*rules[:place], *others, *rules[place:]])
    assert more == answer or (isinstance(more, Unmatched) and isinstance(answer, Unmatched))  # another one is nearest


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
