"""Several observations in one post, and names that only operators know, over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest

from signals.aliases import Alias
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Kind
from tests.kit.api import Api, bearer
from tests.kit.signals import ANOMALY, CAUSE

POST = {"windowId": "win-7", "isAnomaly": True, "severity": "critical", "labels": {"namespace": "shop"}}


def test_each_observation_of_a_post_is_judged_by_itself(api: Api) -> None:
    observations = [
        {"labels": {"pod": "web-5d8f7-x2x4z"}, "type": "resource", "score": 0.93},
        {"service": "Checkout Service", "type": "latency", "score": 2},
        7,
        {"service": "Checkout Service", "type": "latency", "score": 0.88, "severity": "warning"},
    ]
    answer = api.post("/v1/signals/anomaly", {**POST, "observations": observations})

    assert answer.status_code == 202
    items = answer.json()["items"]
    assert [item["status"] for item in items] == [202, 422, 422, 202]
    assert items[1]["problem"]["errors"][0]["field"] == "observations[1].score"
    assert items[2]["problem"]["errors"][0]["field"] == "observations[2]"
    stored = {signal.workload: signal for signal in Signal.objects.all()}
    assert stored.keys() == {"web-5d8f7-x2x4z", "Checkout Service"}
    pod = stored["web-5d8f7-x2x4z"]
    assert (pod.namespace, pod.named_by, pod.severity) == ("shop", "pod", "critical")
    assert pod.labels == {"namespace": "shop", "pod": "web-5d8f7-x2x4z"}
    assert stored["Checkout Service"].severity == "warning"


def test_a_malformed_observation_does_not_affect_the_others(api: Api) -> None:
    body = '{"windowId": "w", "isAnomaly": true, "type": "error", "score": 1, "observations": ['
    body += '{"service": "a"}, {"service": "b", "score": NaN}]}'

    answer = api.post("/v1/signals/anomaly", body.encode())

    assert [item["status"] for item in answer.json()["items"]] == [202, 400]


@pytest.mark.parametrize("observations", [[], {}, None, "x", [{}] * 1001])
def test_a_list_of_observations_has_1_to_1000_items(api: Api, observations: Any) -> None:
    answer = api.post("/v1/signals/anomaly", {**POST, "observations": observations})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "observations"


def test_an_rca_post_may_have_several_observations(api: Api) -> None:
    causes = [{"rankedCauses": [CAUSE]}, {"rankedCauses": [CAUSE | {"svc": "db_003", "cause": "deadlock"}]}]
    answer = api.post("/v1/signals/rca", {"windowId": "w", "confidence": 0.9, "observations": causes})

    assert [item["state"] for item in answer.json()["items"]] == ["pending", "pending"]


def test_what_observations_share_is_bounded_before_it_is_copied_to_each_of_them(api: Api) -> None:
    shared = {**ANOMALY, "metadata": {"text": "x" * 50_000}}

    answer = api.post("/v1/signals/anomaly", {**shared, "observations": [{}] * 100})

    assert (answer.status_code, answer.json()["reason"]) == (413, "BodyTooLarge")
    assert "The content that 100 observations share, 50" in answer.json()["detail"]
    assert not Signal.objects.exists()
    assert api.post("/v1/signals/anomaly", {**shared, "observations": [{}] * 10}).status_code == 202


@pytest.mark.parametrize("hidden", ["\u200b", "\u3164", "\ufe0f", "\u202e", "\U000e0041"])
@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("service", lambda text: {"service": text}),
        ("labels", lambda text: {"service": None, "labels": {"pod": text}}),
        ("severity", lambda text: {"severity": text}),
    ],
)
def test_an_invisible_character_that_would_make_equal_names_different_is_named(
    api: Api, hidden: str, field: str, fields: Callable[[str], dict[str, Any]]
) -> None:
    answer = api.post("/v1/signals/anomaly", ANOMALY | fields(f"tom{hidden}cat"))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert f"the invisible character U+{ord(hidden):04X}" in answer.json()["detail"]


def test_the_space_around_the_name_of_a_label_does_not_count(api: Api) -> None:
    labels = {"namespace": " shop ", "pod": "  ", "service": " web "}
    api.post("/v1/signals/anomaly", ANOMALY | {"service": None, "labels": labels})

    signal = Signal.objects.get()
    assert (signal.namespace, signal.named_by, signal.workload) == ("shop", "service", "web")


def test_64_kib_of_labels_are_refused_by_their_name(api: Api) -> None:
    labels = {f"label_{number}": "x" * 1024 for number in range(64)}
    answer = api.post("/v1/signals/anomaly", ANOMALY | {"labels": labels})

    assert answer.status_code == 422
    assert answer.json()["detail"] == "labels: The names and values have 66038 bytes together; the limit is 8192"


def test_a_name_that_no_workload_can_have_is_stored(api: Api) -> None:
    answer = api.post("/v1/signals/anomaly", ANOMALY | {"service": "Tomcat01"})
    api.post("/v1/signals/anomaly", ANOMALY | {"service": "Tomcat01", "windowId": "another"})

    signal = api.get(answer.headers["Location"]).json()
    assert (signal["workload"], signal["named_by"], signal["nearest"], signal["count"]) == ("Tomcat01", None, [], 2)
    assert (signal["identification"], signal["labels"], signal["severity"]) == (None, {}, None)
    assert len(api.get("/v1/signals?workload=Tomcat01").json()["items"]) == 1


@pytest.mark.django_db
def test_a_namespace_of_a_label_is_one_that_the_token_covers() -> None:
    api = bearer("of erp", namespaces=["erp"])
    body = {**ANOMALY, "labels": {"namespace": "shop"}}

    assert api.post("/v1/signals/anomaly", body).json()["reason"] == "NamespaceForbidden"


def unidentified(name: str, namespace: str = "smartops-dev") -> Signal:
    return Signal.objects.create(
        source="anomaly", cluster="default", namespace=namespace, workload=name, symptom="error", payload={},
        fingerprint=name, reason=Reason.TARGET_UNIDENTIFIED, nearest=["tomcat"],
    )  # fmt: skip


def test_an_alias_can_be_tested_by_a_name_and_by_a_pattern(api: Api) -> None:
    first = Alias.objects.create(pattern="Tomcat[0-9]+", workload="tomcat", kind=Kind.STATEFUL_SET)
    Alias.objects.create(pattern=".*", workload="other", priority=200)
    Alias.objects.create(pattern=".*", workload="disabled", priority=1, enabled=False)
    unidentified("Tomcat01")
    unidentified("db_003")

    match = api.get("/v1/aliases/match?name=Tomcat01").json()
    assert match["alias"]["id"] == first.pk
    assert [(one["workload"], one["nearest"]) for one in match["signals"]] == [("Tomcat01", ["tomcat"])]
    assert api.get("/v1/aliases/match?name=x").json()["alias"]["workload"] == "other"
    found = api.get("/v1/aliases/match?pattern=db_.*").json()
    assert (found["alias"], [one["workload"] for one in found["signals"]]) == (None, ["db_003"])
    assert [one["workload"] for one in api.get("/v1/aliases").json()["items"]] == ["disabled", "tomcat", "other"]


@pytest.mark.parametrize("query", ["", "name=a&pattern=b", "pattern=(", "pattern=(%3F<%3Da)b", "name=a&typo=1"])
def test_a_test_of_an_alias_takes_a_name_or_a_valid_pattern(api: Api, query: str) -> None:
    assert api.get(f"/v1/aliases/match?{query}").status_code == 422


def test_an_unknown_parameter_of_a_test_of_an_alias_is_named(api: Api) -> None:
    assert api.get("/v1/aliases/match?foo=").json()["detail"] == "foo: Unknown query parameter"


@pytest.mark.django_db
def test_a_token_sees_the_aliases_of_its_namespaces() -> None:
    api = bearer("of erp", namespaces=["erp"])
    Alias.objects.create(pattern="a", workload="a", namespace="erp")
    Alias.objects.create(pattern="b", workload="b", to_namespace="shop")
    Alias.objects.create(pattern="c", workload="c")

    assert [one["workload"] for one in api.get("/v1/aliases").json()["items"]] == ["a", "c"]
    assert api.get("/v1/aliases/match?name=b").status_code == 403
    assert api.get("/v1/aliases/match?name=b&namespace=erp").json()["alias"] is None
