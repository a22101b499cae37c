"""What was done and why, read back."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from guardrails.types import Limits
from orchestrator.k8s.target import TargetState
from orchestrator.k8s.types import WorkloadKey, WorkloadObject
from orchestrator.models import Action, VerificationStatus, transition_store, transitions
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType, Kind, Target
from smartops import tokens
from smartops.tokens import Scope
from tests.kit import verbs
from tests.kit.api import Api, bearer
from tests.kit.deployments import document
from tests.kit.rules import install_default_rules
from tests.kit.signals import ANOMALY

ASYNC = {"prefer": "respond-async"}


def ask(api: Api, deployment: str, **fields: Any) -> str:
    answer = api.post("/v1/k8s/scale", {"deployment": deployment, "replicas": 3} | fields, **ASYNC)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def carry_out(action_id: str, scale_increase: int = 2) -> None:
    """The life of an action, without a cluster."""
    seen = WorkloadObject(WorkloadKey("smartops-dev", "a"), "uid", "7", 2, 3, False, False, {}, ready_replicas=3)
    seen, written = replace(seen, document=document(2)), replace(seen, document=document(3))
    action = Action.objects.select_related("workload", "signal").get(pk=action_id)
    transition_store.store([transitions.claim(action, "reconciler:test")])
    transition_store.store([transitions.plan(action, seen, {"replicas": 3}, scale_increase, "reconciler:test")])
    transition_store.store([transitions.apply(action, written, Limits(), "reconciler:test")])
    status, reason = VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE
    transition_store.store([transitions.verified(action, status, reason, "All 3 replicas.", seen, "reconciler:test")])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["c", "b", "a"]),
        ({"state": "pending"}, ["c", "b"]),
        ({"state": "succeeded"}, ["a"]),
        ({"namespace": "erp"}, ["b"]),
        ({"workload": "c"}, ["c"]),
        ({"workload": "c", "namespace": "erp"}, []),
        ({"type": "RESTART"}, ["c"]),
        ({"cluster": "default", "type": "SCALE"}, ["b", "a"]),
        ({"cluster": "other"}, []),
    ],
)
def test_actions_are_listed_newest_first_and_filtered(api: Api, query: dict[str, str], names: list[str]) -> None:
    carry_out(ask(api, "a"))
    ask(api, "b", namespace="erp")
    api.post("/v1/k8s/restart", {"deployment": "c"}, **ASYNC)

    listed = api.get("/v1/actions", **query).json()

    assert [item["target"]["name"] for item in listed["items"]] == names


def test_actions_of_one_kind_are_listed(api: Api) -> None:
    verbs.requested("a")
    verbs.requested("a", kind=Kind.STATEFUL_SET)

    def listed(**query: str) -> list[str]:
        return [item["target"]["kind"] for item in api.get("/v1/actions", **query).json()["items"]]

    assert listed(workload="a") == ["StatefulSet", "Deployment"]
    assert listed(workload="a", kind="Deployment") == ["Deployment"]
    assert listed(kind="StatefulSet") == ["StatefulSet"]
    assert listed(kind="DaemonSet") == []


@pytest.mark.parametrize("path", ["/v1/actions", "/v1/signals", "/v1/guardrails"])
@pytest.mark.parametrize(
    ("kind", "hint"),
    [("Pod", ""), ("deployment", ". Write Deployment"), ("sts", ". Write StatefulSet"), ("", ""), ("\0", "")],
)
def test_an_unknown_kind_is_refused_with_the_kinds_that_there_are(api: Api, path: str, kind: str, hint: str) -> None:
    answer = api.get(path, kind=kind)

    assert answer.status_code == 422
    assert answer.json()["detail"] == f"kind: Input should be Deployment, StatefulSet or DaemonSet{hint}"


def test_guardrails_are_those_of_a_kind(api: Api) -> None:
    GuardrailSetting.objects.create(kind="StatefulSet", max_replicas=3)
    Freeze.objects.create(kind="StatefulSet", namespace="erp", reason="storage", by="user:admin")

    def asked(**query: str) -> list[Any]:
        found = api.get("/v1/guardrails", namespace="erp", workload="db", **query).json()
        return [found["kind"], found["limits"]["max_replicas"], [one["scope"] for one in found["freezes"]]]

    default = {"value": 8, "source": "default"}
    assert asked() == asked(kind="Deployment") == ["Deployment", default, []]
    assert asked(kind="DaemonSet") == ["DaemonSet", default, []]
    limited = {"value": 3, "source": "StatefulSets"}
    assert asked(kind="StatefulSet") == ["StatefulSet", limited, ["StatefulSets in namespace erp"]]


def test_a_page_costs_one_query_whatever_it_holds(
    api: Api, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "monotonic", lambda: 0.0)  # on a busy machine the time of the cache could be over
    for number in range(4):
        ask(api, f"erp-{number}")
    with django_assert_num_queries(1):  # the token was read by the requests before
        page = api.get("/v1/actions", limit=3).json()
    assert len(page["items"]) == 3
    assert page["next"]


def test_an_action_is_read_with_its_timeline_decisions_and_verification(api: Api) -> None:
    action_id = ask(api, "a", reason="Monday morning")
    carry_out(action_id)

    action = api.get(f"/v1/actions/{action_id}").json()

    assert (action["type"], action["state"], action["reason"]) == ("SCALE", "succeeded", "RolloutComplete")
    assert (action["justification"], action["change"]) == ("Monday morning", {"replicas": 3})
    assert action["fields"] == [{"path": "spec.replicas", "before": 2, "after": 3}]
    assert action["inverse"] == {"params": {"replicas": 2}, "reason": None}
    assert [(event["from_state"], event["to_state"]) for event in action["timeline"]] == [
        (None, "pending"),
        ("pending", "applying"),
        ("applying", "applying"),
        ("applying", "verifying"),
        ("verifying", "succeeded"),
    ]
    assert action["timeline"][0]["actor"] == "token:agent"
    (decision,) = action["decisions"]
    assert (decision["phase"], decision["outcome"]) == ("admit", "allow")
    outcomes = {verdict["guardrail"]: verdict["outcome"] for verdict in decision["verdicts"]}
    assert (outcomes["max_replicas"], outcomes["target"], outcomes["policy"]) == (
        "allow",
        "not_evaluated",
        "not_evaluated",
    )
    assert (action["verification"]["status"], action["verification"]["ready_replicas"]) == ("SUCCESS", 3)


def test_a_signal_is_read_with_its_decisions_and_actions(api: Api) -> None:
    install_default_rules()
    posted = api.post("/v1/signals/anomaly", ANOMALY | {"metadata": {"cpu": 96.3}}).json()
    api.post("/v1/signals/anomaly", ANOMALY | {"windowId": "later", "metadata": {"cpu": 99}})
    admit(posted["id"])

    signal = api.get(f"/v1/signals/{posted['id']}").json()

    assert (signal["state"], signal["count"], signal["observations"]) == ("admitted", 2, 2)
    assert signal["payload"]["metadata"] == {"cpu": 99}
    assert [decision["outcome"] for decision in signal["decisions"]] == ["allow"]
    (action,) = signal["actions"]
    assert (action["type"], action["signal"], action["target"]["name"]) == ("SCALE", posted["id"], "erp-simulator")


def admit(signal_id: str) -> None:
    seen = WorkloadObject(WorkloadKey("smartops-dev", "erp-simulator"), "uid", "7", 2, 3, False, False, {}, 2)
    claim = verbs.admit(UUID(signal_id), lambda _: TargetState(seen=True, object=seen), "reconciler:test")
    assert claim is not None, Signal.objects.values("state", "reason", "message").get(pk=signal_id)


def test_a_token_reads_only_the_actions_of_its_namespaces(api: Api) -> None:
    ours, theirs = ask(api, "a", namespace="erp"), ask(api, "b", namespace="crm")
    erp = bearer("erp", [Scope.READ], ["erp"])

    assert [item["id"] for item in erp.get("/v1/actions").json()["items"]] == [ours]
    assert erp.get("/v1/actions", namespace="crm").status_code == 403
    assert erp.get(f"/v1/actions/{ours}").status_code == 200
    assert erp.get(f"/v1/actions/{theirs}").status_code == 403
    assert erp.get("/v1/guardrails", namespace="crm").status_code == 403
    assert erp.get("/v1/guardrails", namespace="erp").status_code == 200


def test_each_limit_names_its_source(api: Api) -> None:
    GuardrailSetting.objects.create(cooldown_seconds=60)
    GuardrailSetting.objects.create(namespace="erp", max_replicas=20)
    GuardrailSetting.objects.create(namespace="erp", workload="erp-simulator", max_replicas=4)

    def limits(**query: str) -> tuple[dict[str, Any], dict[str, Any]]:
        found = api.get("/v1/guardrails", **query).json()["limits"]
        return found["max_replicas"], found["cooldown_seconds"]

    everything = {"value": 60, "source": "everything"}
    assert limits() == ({"value": 8, "source": "default"}, everything)
    assert limits(namespace="erp") == ({"value": 20, "source": "namespace erp"}, everything)
    own = {"value": 4, "source": "erp/erp-simulator"}
    assert limits(namespace="erp", workload="erp-simulator") == (own, everything)
    assert limits(namespace="erp", workload="other") == ({"value": 20, "source": "namespace erp"}, everything)


def test_freezes_in_force_are_listed(api: Api) -> None:
    Freeze.objects.create(namespace="erp", reason="release", by="user:admin")

    assert api.get("/v1/guardrails", namespace="crm").json()["freezes"] == []
    assert api.get("/v1/guardrails", namespace="erp").json()["freezes"] == [
        {"scope": "namespace erp", "reason": "release", "by": "user:admin", "until": None}
    ]


def test_the_usage_of_a_workload_is_reported(api: Api) -> None:
    unknown = api.get("/v1/guardrails", workload="a").json()
    assert unknown["namespace"] == "smartops-dev"
    assert unknown["usage"]["SCALE"]["actions_this_hour"] == 0
    assert api.get("/v1/guardrails", namespace="smartops-dev").json()["usage"] is None

    GuardrailSetting.objects.create(max_actions_per_hour=1)
    carry_out(ask(api, "a"), scale_increase=2)

    usage = api.get("/v1/guardrails", workload="a").json()["usage"]
    assert (usage["SCALE"]["actions_this_hour"], usage["SCALE"]["actions_limit"]) == (1, 1)
    assert (usage["SCALE"]["scale_increase"], usage["SCALE"]["scale_increase_limit"]) == (2, 3)
    assert usage["SCALE"]["next_allowed_at"] is not None
    assert usage["SCALE"]["cooldown_until"] is not None
    assert (usage["RESTART"]["actions_this_hour"], usage["RESTART"]["cooldown_until"]) == (0, None)


def test_a_cooldown_that_has_ended_is_not_reported(api: Api) -> None:
    Cooldown.start([(Target("default", "smartops-dev", "a"), ActionType.SCALE, -1)])

    assert api.get("/v1/guardrails", workload="a").json()["usage"]["SCALE"]["cooldown_until"] is None
