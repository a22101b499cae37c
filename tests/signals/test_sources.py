"""From an agent's body to an Observation, or to the name of the field that is wrong."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from signals.sources.anomaly import AnomalySignal
from signals.sources.matching import condition_mistakes, conditions_never_met
from signals.sources.rca import RcaSignal
from signals.sources.several import divide
from signals.symptoms import SymptomMatch
from signals.types import ActionType, Kind, RuleSpec, Source, Target
from tests.kit.signals import ANOMALY, CAUSE, RCA

HERE = Target("default", "smartops-dev", "")


def test_an_anomaly_is_of_its_type_and_fires_or_ends() -> None:
    seen = AnomalySignal.model_validate(ANOMALY | {"metadata": {"cpu": 96.3}}).observation(HERE)

    assert (seen.source, seen.symptom, seen.window_id) == (Source.ANOMALY, "resource", "win-123")
    assert seen.target == Target("default", "smartops-dev", "erp-simulator")
    assert (seen.firing, seen.score, seen.probability, seen.confidence) == (True, 0.95, None, None)
    assert seen.payload == ANOMALY | {"metadata": {"cpu": 96.3}}
    assert not AnomalySignal.model_validate(ANOMALY | {"isAnomaly": False}).observation(HERE).firing


def test_an_rca_is_of_its_most_probable_cause_and_among_equals_of_the_first() -> None:
    causes = [
        {"svc": "a", "cause": "network", "probability": 0.3},
        {"svc": "b", "cause": " memory_leak ", "probability": 0.6},
        {"svc": "c", "cause": "deadlock", "probability": 0.6},
    ]
    seen = RcaSignal.model_validate(RCA | {"rankedCauses": causes}).observation(HERE)

    assert (seen.source, seen.symptom, seen.target.name) == (Source.RCA, "memory_leak", "b")
    assert (seen.score, seen.probability, seen.confidence) == (None, 0.6, 0.93)


def test_a_body_may_name_its_place_and_null_is_as_good_as_nothing() -> None:
    elsewhere = AnomalySignal.model_validate(ANOMALY | {"namespace": "erp", "cluster": "eu-1.prod"})
    assert elsewhere.observation(HERE).target == Target("eu-1.prod", "erp", "erp-simulator")

    nowhere = AnomalySignal.model_validate(
        ANOMALY | {"namespace": None, "cluster": None, "metadata": None, "workloadKind": None}
    )
    assert nowhere.observation(HERE).target == Target("default", "smartops-dev", "erp-simulator")


@pytest.mark.parametrize("kind", [*Kind, None])
def test_a_body_may_name_the_kind_of_its_workload(kind: Kind | None) -> None:
    named = {} if kind is None else {"workloadKind": kind.value}
    target = Target("default", "smartops-dev", "erp-simulator", kind or Kind.DEPLOYMENT)

    anomaly = AnomalySignal.model_validate(ANOMALY | named).observation(HERE)
    rca = RcaSignal.model_validate(RCA | {"rankedCauses": [CAUSE | named]}).observation(HERE)

    assert anomaly.target == rca.target == target
    assert anomaly.payload == ANOMALY | named


def wrong_field(model: type[AnomalySignal | RcaSignal], body: dict[str, Any]) -> tuple[str | int, ...]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    errors = refused.value.errors()
    assert len(errors) == 1
    return errors[0]["loc"]


WRONG: dict[str, list[Any]] = {
    "windowId": ["", "a" * 257, "a\nb", "\x85", 7, None],
    "service": ["", "  ", "a" * 254, "a\tb", "a\u200bb", "a\u202eb", 7, None],
    "labels": [
        [],
        {"a": 1},
        {"a b": "x"},
        {"": "x"},
        {"a": "x" * 1025},
        {"a": "x\ny"},
        {"namespace": "A B"},
        {"pod": "x" * 254},
        {f"label_{number}": "x" for number in range(65)},
        {f"label_{number}": "x" * 1024 for number in range(64)},
    ],
    "annotations": [[], {"a": 1}, {"a": "x" * 9000, "b": "x" * 9000}],
    "severity": ["x" * 33, "a\nb", 1, None],
    "startedAt": [
        "",
        "yesterday",
        "2026-11-28",
        "2026-11-28T17:00:00",
        "1999-12-31T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "1764349200",
        "1764349200.5",
        1,
        True,
    ],
    "isAnomaly": ["true", 1, 0, None],
    "score": [-0.001, 1.001, float("nan"), float("inf"), "0.5", True, None, []],
    "type": ["memory", "Resource", "", None, 1],
    "metadata": [[], "x", 1],
    "workloadKind": ["", "Pod", "deployment", 1, ["Deployment"]],
    "namespace": ["", "a.b", "A", "a" * 64, 1],
    "cluster": ["", "a b", "a" * 64],
    "typo": [1, None],
    "window_id": ["the name of the code, not of the contract"],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_an_anomaly_with_a_wrong_field_is_refused_by_its_name(field: str, value: Any) -> None:
    assert wrong_field(AnomalySignal, ANOMALY | {field: value})[:1] == (field,)


@pytest.mark.parametrize("field", ["windowId", "service", "isAnomaly", "score", "type"])
def test_an_anomaly_that_lacks_a_field_is_refused_by_its_name(field: str) -> None:
    body = {name: value for name, value in ANOMALY.items() if name != field}
    assert wrong_field(AnomalySignal, body) == (field,)


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"rankedCauses": []}, ("rankedCauses",)),
        ({"rankedCauses": {}}, ("rankedCauses",)),
        ({"rankedCauses": [CAUSE, CAUSE | {"svc": ""}]}, ("rankedCauses", 1, "svc")),
        ({"rankedCauses": [CAUSE | {"cause": "  "}]}, ("rankedCauses", 0, "cause")),
        ({"rankedCauses": [CAUSE | {"cause": "a" * 129}]}, ("rankedCauses", 0, "cause")),
        ({"rankedCauses": [CAUSE | {"cause": "a\x1fb"}]}, ("rankedCauses", 0, "cause")),
        ({"rankedCauses": [CAUSE | {"probability": 2}]}, ("rankedCauses", 0, "probability")),
        ({"rankedCauses": [CAUSE | {"rank": 1}]}, ("rankedCauses", 0, "rank")),
        ({"confidence": float("nan")}, ("confidence",)),
        ({"confidence": "high"}, ("confidence",)),
        ({"service": "erp-simulator"}, ("service",)),
    ],
)
def test_an_rca_with_a_wrong_field_is_refused_by_its_name(change: dict[str, Any], location: tuple[Any, ...]) -> None:
    assert wrong_field(RcaSignal, RCA | change) == location


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"startedAt": "1764349200"}, "Input should be no number, but a time as 2026-11-28T17:00:00Z"),
        ({"windowId": "a\nb"}, "Input should have no control characters; character 2 is U+000A"),
        ({"workloadKind": "sts"}, "Input should be Deployment, StatefulSet or DaemonSet. Write StatefulSet"),
        ({"workloadKind": "daemonsets.apps"}, "Input should be Deployment, StatefulSet or DaemonSet. Write DaemonSet"),
        ({"workloadKind": "Pod"}, "Input should be Deployment, StatefulSet or DaemonSet"),
    ],
)
def test_a_refused_value_is_explained_in_words(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AnomalySignal.model_validate(ANOMALY | change)

    assert [error["msg"] for error in refused.value.errors()] == [said]


@pytest.mark.parametrize(
    ("matchers", "never"),
    [
        ('team="x"', False),
        ('0team!="x"', False),  # it holds where the label is missing
        ('0team="x"', True),
        ('"a b"=~"x.*"', True),
        (f'{"a" * 129}="x"', True),
        (f'team="{"a" * 1025}"', True),
        ('team="a\\nb"', True),
    ],
)
def test_a_matcher_that_no_label_can_meet_is_named(matchers: str, never: bool) -> None:
    rule = RuleSpec(1, 1, "a", Source.RCA, "oom", ActionType.RESTART, {}, labels=matchers)

    assert problems(rule).get("labels", "").startswith("No signal meets") is never


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5])
def test_a_fraction_may_be_written_as_an_integer(value: float) -> None:
    assert AnomalySignal.model_validate(ANOMALY | {"score": value}).score == value


def problems(rule: RuleSpec) -> dict[str, str]:
    return conditions_never_met(rule) | condition_mistakes(rule)


@pytest.mark.parametrize(
    ("severity", "said"),
    [("", ""), ("critical, major", ""), (" , ", "Name at least one severity"), ("high\u200b", "U+200B")],
)
def test_a_rule_names_severities_or_none(severity: str, said: str) -> None:
    spec = RuleSpec(1, 1, "a", Source.RCA, "x", ActionType.RESTART, {}, severity=severity)
    assert said in problems(spec).get("severity", "")
    assert ("severity" in problems(spec)) == bool(said)


def symptom_problem(source: Source, symptom: str, match: SymptomMatch) -> str:
    spec = RuleSpec(1, 1, "a", source, symptom, ActionType.RESTART, {}, symptom_match=match)
    return problems(spec).get("symptom", "")


@pytest.mark.parametrize(
    ("source", "symptom", "said"),
    [
        (Source.ANOMALY, "resource", ""),
        (Source.ANOMALY, "Resource", ""),
        (Source.ANOMALY, "resources", "has the type “resources”. The types are resource, latency, error, other."),
        (Source.ANOMALY, "memory_leak", "No anomaly has the type “memory_leak”."),
        (Source.RCA, "memory_leak", ""),
        (Source.RCA, "anything at all", ""),
        (Source.RCA, " memory_leak", ""),
        (Source.RCA, "memory\nleak", "the invisible character U+000A (a control character)"),
        (Source.RCA, "memory\u200bleak", "the invisible character U+200B (ZERO WIDTH SPACE)"),
        (Source.RCA, "x" * 129, "1 to 128 characters"),
        (Source.RCA, " ", "1 to 128 characters"),
    ],
)
def test_a_symptom_that_no_signal_has_is_named(source: Source, symptom: str, said: str) -> None:
    problem = symptom_problem(source, symptom, SymptomMatch.EQUAL)
    assert said in problem
    assert bool(said) is bool(problem)


@pytest.mark.parametrize(
    ("match", "source", "symptom", "said"),
    [
        (SymptomMatch.ONE_OF, Source.RCA, "oom, memory leak", ""),
        (SymptomMatch.ONE_OF, Source.RCA, " , ", "Name at least one symptom."),
        (SymptomMatch.ONE_OF, Source.RCA, "a,\u2060b", "U+2060"),
        (SymptomMatch.ONE_OF, Source.ANOMALY, "resource, Error", ""),
        (SymptomMatch.ONE_OF, Source.ANOMALY, "resource, leak", "No anomaly has the type “leak”."),
        (SymptomMatch.PATTERN, Source.RCA, "mem.*", ""),
        (SymptomMatch.PATTERN, Source.RCA, "(a+)+$", ""),  # no engine that goes back
        (SymptomMatch.PATTERN, Source.RCA, r"(a)\1", "not a regular expression of RE2"),
        (SymptomMatch.PATTERN, Source.RCA, "(", "not a regular expression of RE2"),
        (SymptomMatch.PATTERN, Source.ANOMALY, "res.*|lat.*", ""),
        (SymptomMatch.PATTERN, Source.ANOMALY, "mem.*", "No anomaly matches this pattern."),
    ],
)
def test_a_list_or_a_pattern_that_no_symptom_meets_is_named(
    match: SymptomMatch, source: Source, symptom: str, said: str
) -> None:
    problem = symptom_problem(source, symptom, match)
    assert said in problem
    assert bool(said) is bool(problem)


@pytest.mark.parametrize(
    ("source", "fields", "field", "said"),
    [
        (Source.RCA, {"min_score": 0.5}, "min_score", "Signals of the source rca have no score."),
        (Source.RCA, {"namespace": "shop/api"}, "namespace", "without the namespace"),
        (Source.RCA, {"workload": "shop-*"}, "workload", "write “shop-.*”"),
        (Source.RCA, {"severity": "high\u200b"}, "severity", "U+200B"),
        (Source.RCA, {"labels": "team"}, "labels", "is expected after “team”"),
        (Source.RCA, {"labels": "team=a, team=b"}, "labels", "No signal meets both"),
        (Source.RCA, {"for_seconds": 604_801}, "for_seconds", "at most 604800 s, a week"),
        (Source.RCA, {"min_reports": 3, "of_reports": 2}, "min_reports", "At least 3 of the last 2 reports"),
        (Source.RCA, {"min_reports": 0, "of_reports": 2}, "min_reports", "At least 0 of the last 2 reports"),
        (Source.RCA, {"min_reports": 1, "of_reports": 61}, "min_reports", "from 1 to 60"),
    ],
)
def test_a_condition_with_a_mistake_is_named(source: Source, fields: dict[str, Any], field: str, said: str) -> None:
    spec = RuleSpec(1, 1, "a", source, "leak", ActionType.RESTART, {})
    assert problems(spec) == {}
    [(found, problem)] = problems(replace(spec, **fields)).items()
    assert found == field
    assert said in problem


def test_an_observation_carries_labels_annotations_a_severity_and_a_start_time() -> None:
    carried = {
        "labels": {"pod": "web-5d8f7-x2x4z", "app.kubernetes.io/name": "web"},
        "annotations": {"summary": "CPU\nis high"},
        "severity": "critical",
        "startedAt": "2026-11-28T17:00:00+02:00",
    }
    seen = AnomalySignal.model_validate(ANOMALY | carried).observation(HERE)

    assert (seen.target.name, seen.named_by) == ("erp-simulator", "")
    assert (seen.labels, seen.annotations, seen.severity) == (carried["labels"], carried["annotations"], "critical")
    assert seen.started_at == datetime(2026, 11, 28, 15, tzinfo=UTC)
    assert seen.payload == ANOMALY | carried


@pytest.mark.parametrize(
    ("labels", "target", "by"),
    [
        ({"deployment": "web"}, Target("default", "smartops-dev", "web"), ""),
        ({"statefulset": "db", "namespace": "erp"}, Target("default", "erp", "db", Kind.STATEFUL_SET), ""),
        ({"pod": "web-0", "exported_namespace": "erp"}, Target("default", "erp", "web-0"), "pod"),
    ],
)
def test_a_label_names_the_target_of_a_body_without_a_name(labels: dict[str, str], target: Target, by: str) -> None:
    anomaly = {name: value for name, value in ANOMALY.items() if name != "service"} | {"labels": labels}
    rca = RCA | {"rankedCauses": [{"cause": "deadlock", "probability": 1}], "labels": labels}

    for seen in (AnomalySignal.model_validate(anomaly), RcaSignal.model_validate(rca)):
        observation = seen.observation(HERE)
        assert (observation.target, observation.named_by) == (target, by)


def test_the_namespace_of_a_body_goes_before_its_label() -> None:
    body = ANOMALY | {"namespace": "shop", "labels": {"namespace": "Not a name"}}

    assert AnomalySignal.model_validate(body).observation(HERE).target.namespace == "shop"


def test_the_problem_of_a_pod_is_not_the_one_of_a_workload_of_this_name() -> None:
    body = {name: value for name, value in ANOMALY.items() if name != "service"}
    pod = AnomalySignal.model_validate(body | {"labels": {"pod": "web"}}).observation(HERE)
    workload = AnomalySignal.model_validate(body | {"labels": {"deployment": "web"}}).observation(HERE)
    named = AnomalySignal.model_validate(body | {"service": "web"}).observation(HERE)

    assert pod.fingerprint != workload.fingerprint == named.fingerprint


def test_reports_of_one_window_of_one_problem_have_one_key() -> None:
    body = AnomalySignal.model_validate(ANOMALY).observation(HERE)
    again = AnomalySignal.model_validate(ANOMALY | {"score": 0.5}).observation(HERE)
    others = [ANOMALY | {"windowId": "win-124"}, ANOMALY | {"service": "frontend"}]

    assert body.window_key == again.window_key
    for other in others:
        assert AnomalySignal.model_validate(other).observation(HERE).window_key != body.window_key


@pytest.mark.parametrize(
    ("post", "expected"),
    [
        ({"score": 1, "observations": [{"score": 2}, {}]}, [{"score": 2}, {"score": 1}]),
        (
            {"labels": {"a": "1", "b": "1"}, "observations": [{"labels": {"b": "2"}}, {"labels": 7}]},
            [{"labels": {"a": "1", "b": "2"}}, {"labels": 7}],
        ),
        ({"annotations": 7, "observations": [{"annotations": {"b": "2"}}, 8]}, [{"annotations": {"b": "2"}}, 8]),
    ],
)
def test_an_observation_has_the_fields_of_its_post(post: dict[str, Any], expected: list[Any]) -> None:
    assert list(divide(post)) == expected
