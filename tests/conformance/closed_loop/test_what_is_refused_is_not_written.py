"""Each guardrail says no, with its reason, and the audit log shows that nothing was written."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from guardrails.models import Freeze
from signals.models import Rule
from tests.conformance.closed_loop.referee import writes
from tests.conformance.loop import Judge, Loop
from tests.kit.client import Client, Object, is_complete
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SERVICE = "erp-simulator"


def runs(http: Client, replicas: int = 2, name: str = SERVICE) -> None:
    http.create("deployments", deployment(name, replicas=replicas))
    http.rolled_out(name)


def told(signal: Any) -> tuple[str, str]:
    return signal["state"], signal["reason"]


def numbers(signal: Any, guardrail: str) -> Object:
    """Those of the guardrail's verdict in the last decision on the signal."""
    [found] = [one["details"] for one in signal["decisions"][-1]["verdicts"] if one["guardrail"] == guardrail]
    return dict(found)


def test_more_replicas_than_the_limit_are_refused(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http, replicas=8)

    signal = loop.decided(loop.anomaly(SERVICE))
    status, problem = loop.ask("scale", SERVICE, replicas=9)
    by_patch = loop.ask("patch", SERVICE, patch={"spec": {"replicas": 9}})

    assert told(signal) == ("denied", "ReplicaLimit")
    assert numbers(signal, "max_replicas") == {"value": 9, "limit": 8, "current": 8}
    assert (status, problem["reason"], problem["details"]["limit"]) == (400, "ReplicaLimit", 8)
    assert (by_patch.status, by_patch.body["reason"]) == (400, "ReplicaLimit")
    assert writes(judge.events()) == []


def test_a_second_action_of_the_same_type_waits_for_the_cooldown(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    assert loop.outcome(loop.anomaly(SERVICE))["state"] == "succeeded"

    again, another_kind = loop.decided(loop.anomaly(SERVICE)), loop.outcome(loop.root_cause(SERVICE))

    assert told(again) == ("pending", "CooldownActive")
    assert 300 - PATIENCE < numbers(again, "cooldown")["remaining_seconds"] <= 300
    assert another_kind["state"] == "succeeded"
    assert judge.changes() == [("SCALE", SERVICE), ("RESTART", SERVICE)]


def test_the_closed_loop_waits_after_a_direct_action_too(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    assert loop.ask("restart", SERVICE).status == 200
    assert loop.ask("restart", SERVICE).status == 200  # a person is not held back

    signal = loop.decided(loop.root_cause(SERVICE))

    assert told(signal) == ("pending", "CooldownActive")
    assert judge.changes() == [("RESTART", SERVICE)] * 2


def test_a_seventh_action_within_the_hour_waits(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    loop.limit(cooldown=0)
    assert [loop.outcome(loop.root_cause(SERVICE))["state"] for _ in range(6)] == ["succeeded"] * 6

    seventh = loop.decided(loop.root_cause(SERVICE))

    assert told(seventh) == ("pending", "RateLimit")
    assert numbers(seventh, "actions_per_hour").items() >= {"value": 6, "limit": 6, "window_seconds": 3600}.items()
    assert judge.changes() == [("RESTART", SERVICE)] * 6


def test_a_fourth_replica_within_15_minutes_waits(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    loop.limit(cooldown=0)
    assert [loop.outcome(loop.anomaly(SERVICE))["state"] for _ in range(3)] == ["succeeded"] * 3

    fourth = loop.decided(loop.anomaly(SERVICE))

    assert told(fourth) == ("pending", "ScaleVelocityLimit")
    assert numbers(fourth, "scale_velocity").items() >= {"value": 3, "wanted": 1, "limit": 3}.items()
    assert judge.changes() == [("SCALE", SERVICE)] * 3
    assert http.get(f"deployments/{SERVICE}")["spec"]["replicas"] == 5


def test_a_step_that_is_larger_than_the_window_allows_is_refused(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    _rule(loop, "stampede", "SCALE", {"delta": 4})

    assert told(loop.decided(loop.root_cause(SERVICE, "stampede"))) == ("denied", "ScaleVelocityLimit")
    assert writes(judge.events()) == []


def test_four_detectors_at_once_lead_to_one_action(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)

    with ThreadPoolExecutor(4) as detectors:
        reports = [detectors.submit(loop.anomaly, SERVICE, type_) for type_ in ("resource", "latency")]
        reports += [detectors.submit(loop.root_cause, SERVICE, cause) for cause in ("cpu_saturation", "traffic_surge")]
    signals = [report.result() for report in reports]
    until(lambda: sorted(str(loop.signal(signal)["reason"]) for signal in signals) == ["CooldownActive"] * 3 + ["None"])

    assert judge.changes() == [("SCALE", SERVICE)]


def test_callers_at_the_same_moment_act_one_at_a_time(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda count: loop.ask("scale", SERVICE, replicas=count), range(3, 9)))

    done = [answer for answer in answers if answer.status == 200]
    assert len(done) >= 1
    assert {answer.body["reason"] for answer in answers if answer not in done} <= {"TargetBusy"}
    assert judge.changes() == [("SCALE", SERVICE)] * len(done)


def test_a_workload_that_is_rolling_out_takes_no_second_action(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    slow = deployment(SERVICE, sim={"ready_after": "1h"})["spec"]["template"]
    http.patch(f"deployments/{SERVICE}", {"spec": {"template": slow}})
    first = loop.start("scale", SERVICE, replicas=3)

    status, problem = loop.ask("restart", SERVICE)
    signal = loop.put_off(loop.root_cause(SERVICE), "RolloutInProgress")  # of somebody else: it has to settle, too

    assert (status, problem["reason"], problem["details"]["action"]) == (409, "TargetBusy", first)
    assert signal["state"] == "pending"
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_freeze_holds_everything_back_until_it_is_lifted(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    frozen = Freeze.objects.create(namespace=loop.namespace, reason="the books are closed", by="user:an operator")

    signal = loop.anomaly(SERVICE)
    waits, (status, problem) = loop.decided(signal), loop.ask("restart", SERVICE)

    assert told(waits) == ("pending", "Frozen")
    assert (status, problem["reason"], problem["details"]["by"]) == (409, "Frozen", "user:an operator")
    assert writes(judge.events()) == []

    frozen.lift("user:ana", "it is over")
    assert loop.outcome(signal)["state"] == "succeeded"
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_problem_that_is_over_before_the_freeze_leads_to_no_action(loop: Loop, judge: Judge, http: Client) -> None:
    runs(http)
    frozen = Freeze.objects.create(namespace=loop.namespace, reason="the books are closed", by="user:an operator")
    signal = loop.anomaly(SERVICE)
    assert told(loop.decided(signal)) == ("pending", "Frozen")

    loop.anomaly(SERVICE, isAnomaly=False)
    frozen.lift("user:ana", "it is over")

    assert told(loop.signal(signal)) == ("resolved", "SignalResolved")
    assert loop.outcome(loop.root_cause(SERVICE))["state"] == "succeeded"  # what came later was decided on
    assert judge.changes() == [("RESTART", SERVICE)]


def test_the_clusters_own_namespaces_are_protected(loop: Loop, judge: Judge, http: Client) -> None:
    public = Loop(loop.agent, "kube-public")

    with _deployed(http, public.namespace) as name:
        status, problem = public.ask("restart", name)
        signal = public.decided(public.anomaly(name))
        found = http.get(f"/apis/apps/v1/namespaces/{public.namespace}/deployments/{name}")

    assert (status, problem["reason"]) == (409, "ProtectedNamespace")
    assert told(signal) == ("denied", "ProtectedNamespace")
    assert found["metadata"]["generation"] == 1
    assert "smartops.io/action" not in found["metadata"].get("annotations", {})


FORBIDDEN: dict[str, Object] = {
    "image": {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.test/other:1"}]}}}},
    "command": {"spec": {"template": {"spec": {"containers": [{"name": "app", "command": ["sh"]}]}}}},
    "hostNetwork": {"spec": {"template": {"spec": {"hostNetwork": True}}}},
    "serviceAccountName": {"spec": {"template": {"spec": {"serviceAccountName": "admin"}}}},
    "volumes": {"spec": {"template": {"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}}}},
    "ownerReferences": {"metadata": {"ownerReferences": []}},
    "smartops.io": {"metadata": {"annotations": {"smartops.io/action": "mine"}}},
    "app.kubernetes.io/instance": {"metadata": {"labels": {"app.kubernetes.io/instance": "other-app"}}},
    "argocd.argoproj.io/tracking-id": {
        "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "other:apps/Deployment:ns/x"}}
    },
    "template.metadata.labels": {"spec": {"template": {"metadata": {"labels": {"tier": "web"}}}}},
    "tolerations": {"spec": {"template": {"spec": {"tolerations": [{"operator": "Exists"}]}}}},
    "terminationGracePeriodSeconds": {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 0}}}},
    "selector": {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
}


@pytest.mark.parametrize(("names", "patch"), FORBIDDEN.items(), ids=FORBIDDEN)
def test_a_patch_of_what_no_action_may_touch_is_refused_whoever_asks(
    loop: Loop, judge: Judge, http: Client, names: str, patch: Object
) -> None:
    runs(http)
    _rule(loop, "bad_release", "PATCH", {"patch": patch})

    status, problem = loop.ask("patch", SERVICE, patch=patch)
    signal = loop.decided(loop.root_cause(SERVICE, "bad_release"))

    assert (status, problem["reason"]) == (400, "PatchForbidden")
    assert names in problem["detail"]
    assert (signal["state"], signal["reason"], signal["actions"]) == ("denied", "PatchForbidden", [])
    assert writes(judge.events()) == []


def test_what_is_not_there_is_not_found(loop: Loop, judge: Judge, http: Client) -> None:
    status, problem = loop.ask("restart", "nobody")

    assert (status, problem["reason"]) == (404, "TargetNotFound")
    assert told(loop.decided(loop.anomaly("nobody"))) == ("denied", "TargetNotFound")
    assert judge.events() == []


@pytest.mark.parametrize(
    ("type_", "fields", "outcome"),
    [
        ("resource", {"score": 0.5}, ("ignored", "BelowThreshold")),
        ("other", {}, ("ignored", "NoRule")),
    ],
)
def test_a_signal_that_asks_for_nothing_leads_to_nothing(
    loop: Loop, judge: Judge, http: Client, type_: str, fields: Object, outcome: tuple[str, str]
) -> None:
    runs(http)

    assert told(loop.decided(loop.anomaly(SERVICE, type_, **fields))) == outcome
    assert writes(judge.events()) == []


def _rule(loop: Loop, cause: str, type_: str, params: Object) -> None:
    place = {"name": str(uuid4()), "namespace": loop.namespace}
    Rule.objects.create(source="rca", symptom=cause, action_type=type_, params=params, **place)


@contextmanager
def _deployed(http: Client, namespace: str) -> Iterator[str]:
    """The name of a Deployment there, without pods, that is gone afterwards."""
    place, name = f"/apis/apps/v1/namespaces/{namespace}/deployments", f"smartops-{uuid4()}"
    http.create(place, deployment(name, replicas=0))
    try:
        http.wait(place, lambda found: is_complete(found, 1), fieldSelector=f"metadata.name={name}")
        yield name
    finally:
        http.send("DELETE", f"{place}/{name}")
