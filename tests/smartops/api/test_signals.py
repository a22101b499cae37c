"""Signals over HTTP: stored before they are acknowledged, and read back with what became of them."""

import json
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from signals.models import Observation, Signal
from signals.types import Kind, Target
from smartops.api.intake import forget_count
from smartops.models import Token
from smartops.tokens import Scope
from tests.kit.api import Api, bearer
from tests.kit.signals import ANOMALY, NAMESPACE, RCA, anomaly, post


@pytest.mark.parametrize(("path", "body"), [("/v1/signals/anomaly", ANOMALY), ("/v1/signals/rca", RCA)])
def test_a_signal_is_stored_and_acknowledged_with_its_address(api: Api, path: str, body: dict[str, Any]) -> None:
    answer = api.post(path, body)

    signal = Signal.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {"id": str(signal.pk), "state": "pending", "duplicate": False}
    assert answer.headers["Location"] == f"/v1/signals/{signal.pk}"
    assert (signal.namespace, signal.workload) == ("smartops-dev", "erp-simulator")
    assert Observation.objects.get().posted_by == "token:agent"


def test_a_signal_says_how_often_and_when_its_problem_was_reported(api: Api) -> None:
    first = api.post("/v1/signals/anomaly", ANOMALY).json()
    api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "win-124"})
    api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "win-124", "isAnomaly": False})

    problem = api.get(f"/v1/signals/{first['id']}").json()["problem"]

    assert {name: (one["count"], one["last_by"]) for name, one in problem.items()} == {
        "firing": (2, "token:agent"),
        "healthy": (1, "token:agent"),
    }
    assert problem["firing"]["last_at"] < problem["healthy"]["last_at"]


def test_reports_that_open_no_signal_are_counted_and_listed(api: Api) -> None:
    """A detector that finds nothing for a day is heard of all the same."""
    for number in range(3):
        body = ANOMALY | {"service": "Tomcat01", "windowId": f"w{number}", "isAnomaly": False}
        assert api.post("/v1/signals/anomaly", body).json() == {"id": None, "state": "resolved", "duplicate": False}
    api.post("/v1/signals/anomaly", body)  # a repeat

    [item] = api.get("/v1/reports?workload=Tomcat01&source=anomaly&token=agent").json()["items"]

    assert (item["workload"], item["symptom"], item["signal"]) == ("Tomcat01", "resource", None)
    assert item["firing"] == {"count": 0, "last_at": None, "last_by": None}
    assert (item["healthy"]["count"], item["healthy"]["last_by"]) == (3, "token:agent")
    age = timezone.now() - datetime.fromisoformat(item["healthy"]["last_at"])
    assert timedelta(0) < age < timedelta(minutes=1)


def test_reports_are_counted_with_those_of_ignored_and_open_signals(api: Api) -> None:
    """Repeats of what was ignored count up on the closed signal, and on the problem."""
    opened = api.post("/v1/signals/anomaly", ANOMALY).json()["id"]
    api.post("/v1/signals/rca", RCA)
    for number in range(4):
        api.post("/v1/signals/anomaly", ANOMALY | {"windowId": f"w{number}"})
    api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "w0", "isAnomaly": False})
    api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "another", "isAnomaly": False})

    listed = {one["source"]: one for one in api.get("/v1/reports").json()["items"]}

    assert {name: (one["firing"]["count"], one["healthy"]["count"]) for name, one in listed.items()} == {
        "anomaly": (5, 2),
        "rca": (1, 0),
    }
    of_signal = api.get(f"/v1/signals/{opened}").json()["problem"]
    assert of_signal == {kind: listed["anomaly"][kind] for kind in ("firing", "healthy")}


def test_the_pages_of_reports_have_each_problem_once(api: Api) -> None:
    for number in range(5):
        api.post("/v1/signals/anomaly", ANOMALY | {"service": f"s{number}", "isAnomaly": False})

    found, address = [], "/v1/reports?limit=2"
    while address:
        page = api.get(address).json()
        found.append([one["workload"] for one in page["items"]])
        address = page["next"]

    assert [len(one) for one in found] == [2, 2, 1]
    assert sorted(chain(*found)) == [f"s{number}" for number in range(5)]


def test_a_token_reads_the_reports_of_its_namespaces(api: Api) -> None:
    api.post("/v1/signals/anomaly", ANOMALY | {"namespace": "erp"})
    api.post("/v1/signals/anomaly", ANOMALY | {"namespace": "shop"})
    reader = bearer("of erp", [Scope.READ], namespaces=["erp"])

    assert [one["namespace"] for one in reader.get("/v1/reports").json()["items"]] == ["erp"]
    assert reader.get("/v1/reports", namespace="shop").status_code == 403
    assert bearer("writer", [Scope.SIGNALS_WRITE]).get("/v1/reports").status_code == 403


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=Pod", "kind"),
        ("source=tomcat", "source"),
        ("token=%00", "token"),
        ("by=agent", "by"),
        ("limit=0", "limit"),
    ],
)
def test_a_list_of_reports_refuses_what_it_does_not_know(api: Api, query: str, field: str) -> None:
    answer = api.get(f"/v1/reports?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_an_equal_post_is_a_duplicate_and_a_repeat_is_counted(api: Api) -> None:
    first = api.post("/v1/signals/anomaly", ANOMALY).json()

    assert api.post("/v1/signals/anomaly", ANOMALY).json() == first | {"duplicate": True}
    assert api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "win-124"}).json() == first
    assert Signal.objects.get().count == 2


def test_the_end_of_an_anomaly_resolves_its_signal(api: Api) -> None:
    first = api.post("/v1/signals/anomaly", ANOMALY).json()

    answer = api.post("/v1/signals/anomaly", ANOMALY | {"isAnomaly": False})

    assert answer.json() == first | {"state": "resolved"}


def test_an_invalid_signal_names_its_fields(api: Api) -> None:
    answer = api.post("/v1/signals/rca", RCA | {"rankedCauses": [{"svc": ""}], "typo": 1})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [
        "rankedCauses[0].svc",
        "rankedCauses[0].cause",
        "rankedCauses[0].probability",
        "typo",
    ]
    assert not Signal.objects.exists()


def test_a_batch_has_a_result_for_each_signal(api: Api) -> None:
    bodies = [
        ANOMALY | {"kind": "anomaly"},
        RCA,
        ANOMALY | {"score": 7},
        RCA | {"kind": "rca", "windowId": "other"},
        ANOMALY | {"kind": "rca"},
        ANOMALY | {"kind": "else"},
        "no object",
        ANOMALY,
    ]
    answer = api.post("/v1/signals/batch", {"signals": bodies})

    items = answer.json()["items"]
    assert answer.status_code == 202
    assert [item["index"] for item in items] == list(range(len(bodies)))
    assert [item["status"] for item in items] == [202, 202, 422, 202, 422, 422, 422, 202]
    assert [item["problem"]["errors"][0]["field"] for item in items if item["status"] == 422] == [
        "signals[2].score",
        "signals[4].rankedCauses",
        "signals[5].kind",
        "signals[6]",
    ]
    assert items[1]["id"] == items[3]["id"]
    assert items[7] == items[0] | {"index": 7, "duplicate": True}
    assert sorted(Signal.objects.values_list("source", "count")) == [("anomaly", 1), ("rca", 2)]


@pytest.mark.parametrize(
    ("old", "new", "status", "field"),
    [
        (b"0.95", b"NaN", 400, "signals[1].score"),
        (b"0.95", b"-Infinity", 400, "signals[1].score"),
        (b"0.95", b"1e999", 400, "signals[1].score"),
        (b"0.95", b"18446744073709551616", 400, "signals[1].score"),
        (b"0.95", b"9223372036854775807", 422, "signals[1].score"),
        (b"0.95", b'"0.95"', 422, "signals[1].score"),
        (b"0.95", b'0.95, "score": 1', 400, "signals[1].score"),
        (b"0.95", b'0.95, "metadata": {"a": [1, NaN]}', 400, "signals[1].metadata.a[1]"),
        (b"0.95", b'0.95, "metadata": ' + b'{"a": ' * 30 + b"1" + b"}" * 30, 400, "signals[1].metadata" + ".a" * 29),
        (b"0.95", b'0.95, "metadata": ' + b'{"a": ' * 90_000 + b"1" + b"}" * 90_000, 400, "signals[1]"),
        (b"win-123", b"\\ud800", 400, "signals[1].windowId"),
        (b"win-123", b"\\u0000", 400, "signals[1].windowId"),
        (b"win-123", b"\xff", 400, "signals[1]"),
        (b"win-123", b"\n", 400, "signals[1]"),
        (b"win-123", b"w" * 257, 422, "signals[1].windowId"),
        (b'"windowId"', b'"window"', 422, "signals[1].windowId"),
        (b"0.95", b"0.95,", 400, "signals[1]"),
    ],
)
def test_a_bad_signal_leaves_the_others_of_its_batch_alone(
    api: Api, old: bytes, new: bytes, status: int, field: str
) -> None:
    texts = [json.dumps(ANOMALY | {"service": name}).encode() for name in "abc"]
    texts[1] = texts[1].replace(old, new)

    answer = api.post("/v1/signals/batch", b'{"signals": [' + b", ".join(texts) + b"]}")

    items = answer.json()["items"]
    assert (answer.status_code, [item["status"] for item in items]) == (202, [202, status, 202])
    assert items[1]["problem"]["errors"][0]["field"] == field
    assert sorted(Signal.objects.values_list("workload", flat=True)) == ["a", "c"]


def test_a_signal_of_a_batch_is_not_larger_than_a_single_post(api: Api) -> None:
    large = ANOMALY | {"metadata": {"dump": "x" * 1024 * 1024}}

    answer = api.post("/v1/signals/batch", {"signals": [ANOMALY, large]})

    stored, refused = answer.json()["items"]
    assert (stored["status"], refused["status"], refused["problem"]["reason"]) == (202, 413, "BodyTooLarge")


def test_a_batch_without_a_valid_signal_has_a_problem_for_each(api: Api) -> None:
    answer = api.post("/v1/signals/batch", {"signals": [{}, 7]})

    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidRequest")
    assert [item["status"] for item in answer.json()["items"]] == [422, 422]


@pytest.mark.parametrize("signals", [[], [ANOMALY] * 1001, {}, None])
def test_a_batch_has_1_to_1000_signals(api: Api, signals: Any) -> None:
    answer = api.post("/v1/signals/batch", {"signals": signals})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["signals"]
    assert not Signal.objects.exists()


def test_a_thousand_signals_are_stored_at_once(api: Api) -> None:
    bodies = [ANOMALY | {"service": f"erp-{number}"} for number in range(1000)]

    answer = api.post("/v1/signals/batch", {"signals": bodies})

    assert {item["status"] for item in answer.json()["items"]} == {202}
    assert Signal.objects.count() == 1000


def limited(**limits: int) -> Api:
    agent = bearer("limited")
    Token.objects.filter(name="limited").update(**limits)
    return agent


@pytest.mark.parametrize(
    ("limits", "reason", "details"),
    [
        (
            {"signals_per_minute": 2},
            "SignalRateExceeded",
            {"limit": 2, "window_seconds": 60, "retry_after_seconds": 30},
        ),
        ({"waiting_signals": 2}, "TooManyWaitingSignals", {"limit": 2, "retry_after_seconds": 5}),
    ],
)
def test_a_token_beyond_its_limit_is_asked_to_wait(
    db: None, limits: dict[str, int], reason: str, details: dict[str, int]
) -> None:
    agent = limited(**limits)
    batch = {"signals": [ANOMALY | {"service": name} for name in "abc"] + [{}]}

    partly = agent.post("/v1/signals/batch", batch)

    assert (partly.status_code, [one["status"] for one in partly.json()["items"]]) == (202, [202, 202, 429, 422])
    assert partly.json()["items"][2]["problem"]["reason"] == reason
    more = [agent.post("/v1/signals/anomaly", ANOMALY), agent.post("/v1/signals/batch", {"signals": [ANOMALY, {}]})]
    for refused in more:
        assert (refused.status_code, refused.json()["reason"], refused.json()["details"]) == (429, reason, details)
        assert refused.headers["Retry-After"] == str(details["retry_after_seconds"])
    assert [one["status"] for one in more[1].json()["items"]] == [429, 422]
    assert sorted(Signal.objects.values_list("workload", flat=True)) == ["a", "b"]


def test_a_direct_action_needs_nothing_of_the_limits_of_signals(db: None) -> None:
    agent = limited(signals_per_minute=1, waiting_signals=1)
    for _ in range(2):
        agent.post("/v1/signals/anomaly", ANOMALY)

    answer = agent.post("/v1/k8s/restart", {"deployment": "payments"}, Prefer="respond-async")

    assert answer.status_code == 202


def test_posts_are_refused_while_the_queue_is_full_and_reads_are_not(api: Api, settings: Any) -> None:
    settings.SMARTOPS_QUEUE_LIMIT = 2
    for name in "ab":
        forget_count()
        assert api.post("/v1/signals/anomaly", ANOMALY | {"service": name}).status_code == 202
    forget_count()

    for path, body in [("anomaly", ANOMALY), ("batch", b"not parsed")]:
        refused = api.post(f"/v1/signals/{path}", body)
        assert (refused.status_code, refused.json()["reason"]) == (503, "QueueFull")
        assert refused.headers["Retry-After"] == "5"
    assert api.get("/v1/signals").status_code == 200
    assert api.post("/v1/k8s/restart", {"deployment": "payments"}, Prefer="respond-async").status_code == 202

    Signal.objects.update(state="ignored", closed_at=Now())
    forget_count()
    assert api.post("/v1/signals/anomaly", ANOMALY).status_code == 202


def test_a_token_posts_signals_only_of_its_namespaces(db: None) -> None:
    erp = bearer("erp", Scope, ["erp"])

    refused = erp.post("/v1/signals/anomaly", ANOMALY)
    assert (refused.status_code, refused.json()["reason"]) == (403, "NamespaceForbidden")
    batch = erp.post("/v1/signals/batch", {"signals": [ANOMALY, ANOMALY | {"namespace": "erp"}]})
    assert [item["status"] for item in batch.json()["items"]] == [403, 202]
    assert Signal.objects.get().namespace == "erp"


def test_a_token_reads_signals_only_of_its_namespaces(api: Api) -> None:
    for namespace in ("erp", "crm"):
        api.post("/v1/signals/anomaly", ANOMALY | {"namespace": namespace})
    erp = bearer("erp", [Scope.READ], ["erp"])

    assert [item["namespace"] for item in erp.get("/v1/signals").json()["items"]] == ["erp"]
    assert erp.get("/v1/signals", namespace="crm").status_code == 403
    crm = Signal.objects.get(namespace="crm")
    assert erp.get(f"/v1/signals/{crm.pk}").status_code == 403


@pytest.mark.parametrize(
    ("query", "services"),
    [
        ({}, ["c", "b", "a"]),
        ({"state": "resolved"}, ["c"]),
        ({"source": "rca"}, []),
        ({"namespace": "erp"}, ["a"]),
        ({"workload": "b"}, ["b"]),
        ({"cluster": "default", "state": "pending"}, ["b", "a"]),
        ({"cluster": "other"}, []),
    ],
)
def test_signals_are_listed_newest_first_and_filtered(api: Api, query: dict[str, str], services: list[str]) -> None:
    api.post("/v1/signals/anomaly", ANOMALY | {"service": "a", "namespace": "erp"})
    api.post("/v1/signals/anomaly", ANOMALY | {"service": "b"})
    api.post("/v1/signals/anomaly", ANOMALY | {"service": "c"})
    api.post("/v1/signals/anomaly", ANOMALY | {"service": "c", "isAnomaly": False, "windowId": "win-124"})

    listed = api.get("/v1/signals", **query).json()

    assert [item["workload"] for item in listed["items"]] == services
    assert listed["next"] is None


def test_pages_hold_every_row_once_while_rows_are_added(api: Api) -> None:
    for number in range(5):
        api.post("/v1/signals/anomaly", ANOMALY | {"service": f"erp-{number}"})
    seen: list[str] = []
    url: str | None = "/v1/signals?limit=2&namespace=smartops-dev"
    while url:
        page = api.get(url).json()
        seen += [item["workload"] for item in page["items"]]
        api.post("/v1/signals/anomaly", ANOMALY | {"service": f"late-{len(seen)}"})
        url = page["next"] and "{0.path}?{0.query}".format(urlsplit(page["next"]))

    assert seen == ["erp-4", "erp-3", "erp-2", "erp-1", "erp-0"]


def test_the_link_to_the_next_page_is_a_path(api: Api) -> None:
    for service in ("a", "b"):
        api.post("/v1/signals/anomaly", ANOMALY | {"service": service})

    following = api.get("/v1/signals", limit=1, state="pending").json()["next"]

    assert following.startswith("/v1/signals?")  # a proxy may have another scheme and host
    assert {"limit=1", "state=pending"} < set(urlsplit(following).query.split("&"))


def test_an_unknown_or_repeated_filter_is_refused(api: Api) -> None:
    for query in ("?names=a", "?namespace=a&namespace=b"):
        answer = api.call("GET", f"/v1/signals{query}")
        assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidRequest")


def test_signals_of_one_kind_are_listed(api: Api) -> None:
    post(anomaly("a"), anomaly("", target=Target("default", NAMESPACE, "a", Kind.DAEMON_SET)))

    def listed(**query: str) -> set[str]:
        return {item["kind"] for item in api.get("/v1/signals", workload="a", **query).json()["items"]}

    assert listed() == {"Deployment", "DaemonSet"}
    assert listed(kind="DaemonSet") == {"DaemonSet"}
    assert listed(kind="StatefulSet") == set()
