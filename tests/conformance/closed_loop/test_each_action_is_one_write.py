"""The flows one by one, through the API, each judged by the audit log when it is over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests.conformance.closed_loop.referee import writes
from tests.conformance.loop import Judge, Loop, evidence
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.patience import WAIT
from tests.kit.signals import anomaly_body

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SERVICE = "erp-simulator"
MORE_MEMORY = {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}}
ACTIONS: dict[str, tuple[str, Object]] = {
    "SCALE": ("scale", {"replicas": 3}),
    "SCALE to none": ("scale", {"replicas": 0}),
    "RESTART": ("restart", {}),
    "PATCH": ("patch", {"patch": {"spec": {"template": MORE_MEMORY}}}),
}
TargetState = Callable[[], Object]


@pytest.fixture
def erp(http: Client) -> TargetState:
    """A service of two replicas that runs; told as it is now."""
    http.create("deployments", deployment(SERVICE, replicas=2))
    http.rolled_out(SERVICE)
    return lambda: http.get(f"deployments/{SERVICE}")


def test_a_resource_anomaly_adds_one_replica_which_is_verified(
    erp: TargetState, loop: Loop, judge: Judge, kubectl: Kubectl
) -> None:
    action = loop.outcome(loop.anomaly(SERVICE))

    assert (action["type"], action["state"], action["reason"]) == ("SCALE", "succeeded", "RolloutComplete")
    assert evidence(action) == ("SUCCESS", 3, 3, 3)
    assert (action["before"]["replicas"], action["change"]) == (2, {"replicas": 3})
    assert judge.changes() == [("SCALE", SERVICE)]
    assert kubectl("rollout", "status", f"deployment/{SERVICE}", "--watch=false").code == 0
    assert erp()["spec"]["replicas"] == 3


def test_a_memory_leak_restarts_all_pods_which_is_verified(
    erp: TargetState, loop: Loop, judge: Judge, http: Client, kubectl: Kubectl
) -> None:
    before = {pod["metadata"]["uid"] for pod in http.get("pods")["items"]}

    action = loop.outcome(loop.root_cause(SERVICE))

    assert (action["type"], action["state"], evidence(action)) == ("RESTART", "succeeded", ("SUCCESS", 2, 2, 2))
    assert judge.changes() == [("RESTART", SERVICE)]
    now = [pod for pod in http.get("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
    assert len(now) == 2
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in now)
    assert "smartops.io/restart" in kubectl("get", "pods", "-o", "jsonpath={..annotations}").said


def test_both_flows_on_one_service_follow_each_other(erp: TargetState, loop: Loop, judge: Judge) -> None:
    signals = [loop.anomaly(SERVICE), loop.root_cause(SERVICE)]

    assert {loop.outcome(signal)["state"] for signal in signals} == {"succeeded"}
    assert sorted(judge.changes()) == [("RESTART", SERVICE), ("SCALE", SERVICE)]


@pytest.mark.parametrize(("verb", "fields"), ACTIONS.values(), ids=ACTIONS)
def test_a_direct_action_is_answered_when_it_is_verified(
    erp: TargetState, loop: Loop, judge: Judge, verb: str, fields: Object
) -> None:
    replicas = fields.get("replicas", 2)

    status, told = loop.ask(verb, SERVICE, **fields)

    assert (status, told["success"], told["dry_run"], told["verification"]["status"]) == (200, True, False, "SUCCESS")
    assert told["verification"]["available_replicas"] == replicas
    assert (told["details"]["runner"]["status"], told["details"]["runner"]["attempts"]) == ("success", 1)
    assert judge.changes() == [(verb.upper(), SERVICE)]
    assert (erp()["metadata"]["generation"], erp()["spec"]["replicas"]) == (2, replicas)
    assert erp()["metadata"]["annotations"]["smartops.io/action"] == told["details"]["action"]


def test_an_action_of_any_type_can_be_executed(erp: TargetState, loop: Loop, judge: Judge) -> None:
    target = {"kind": "Deployment", "namespace": loop.namespace, "name": SERVICE}
    body = {"type": "SCALE", "target": target, "scale": {"replicas": 1}, "reason": "it is night"}

    status, told = loop.agent.post("/v1/actions/execute", body, prefer=WAIT)

    assert (status, told["success"], told["verification"]["status"]) == (200, True, "SUCCESS")
    assert loop.action(told["details"]["action"])["justification"] == "it is night"
    assert judge.changes() == [("SCALE", SERVICE)]
    assert erp()["spec"]["replicas"] == 1


@pytest.mark.parametrize(("verb", "fields"), ACTIONS.values(), ids=ACTIONS)
def test_a_dry_run_is_judged_by_the_api_server_and_changes_nothing(
    erp: TargetState, loop: Loop, judge: Judge, verb: str, fields: Object
) -> None:
    status, told = loop.ask(verb, SERVICE, dry_run=True, **fields)

    assert (status, told["success"], told["dry_run"], told["verification"]) == (200, True, True, None)
    assert told["details"]["runner"]["status"] == "dry_run"
    sent = writes(judge.events())
    assert all(write.dry_run for write in sent)
    assert sent[-1].status == 200
    assert (erp()["metadata"]["generation"], erp()["spec"]["replicas"]) == (1, 2)


def test_a_dry_run_of_what_the_api_server_does_not_accept_says_so(erp: TargetState, loop: Loop, judge: Judge) -> None:
    invalid = {"metadata": {"labels": {"team": "not a label"}}}

    status, told = loop.ask("patch", SERVICE, dry_run=True, patch=invalid)

    assert (status, told["reason"]) == (422, "ClusterRejected")
    assert "a valid label must be" in told["detail"]
    last = writes(judge.events())[-1]
    assert (last.dry_run, last.status) == (True, 422)


def test_a_change_that_the_api_server_rejects_is_answered_with_its_message(
    erp: TargetState, loop: Loop, judge: Judge
) -> None:
    status, told = loop.ask("patch", SERVICE, patch={"spec": {"progressDeadlineSeconds": 60, "minReadySeconds": 60}})

    assert (status, told["reason"]) == (422, "ClusterRejected")
    assert "spec.progressDeadlineSeconds" in told["detail"]
    assert judge.changes() == []
    assert writes(judge.events())[-1].status == 422


def test_an_action_without_verification_is_answered_when_the_cluster_accepts_it(
    http: Client, loop: Loop, judge: Judge
) -> None:
    http.create("deployments", deployment(SERVICE, sim={"ready_after": "1h"}))

    status, told = loop.ask("scale", SERVICE, replicas=2, verify=False)

    assert (status, told["success"], told["verification"]) == (200, True, None)
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_caller_who_does_not_wait_gets_the_address_of_the_action(erp: TargetState, loop: Loop, judge: Judge) -> None:
    body = {"deployment": SERVICE, "namespace": loop.namespace}

    status, told = loop.agent.post("/v1/k8s/restart", body, prefer="respond-async")

    assert (status, told["finished_at"], told["verification"]) == (202, None, None)
    action = loop.ended(told["id"])
    assert (action["state"], evidence(action)) == ("succeeded", ("SUCCESS", 2, 2, 2))
    assert judge.changes() == [("RESTART", SERVICE)]


def test_equal_requests_are_one_action(erp: TargetState, loop: Loop, judge: Judge) -> None:
    body = {"deployment": SERVICE, "namespace": loop.namespace, "replicas": 3}

    def ask(_: int) -> Any:
        return loop.agent.post("/v1/k8s/scale", body, idempotency_key=loop.namespace, prefer=WAIT)

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(ask, range(6)))

    assert [status for status, _ in answers] == [200] * 6
    assert len({told["details"]["action"] for _, told in answers}) == 1
    assert judge.changes() == [("SCALE", SERVICE)]


def test_equal_reports_are_one_action(erp: TargetState, loop: Loop, judge: Judge) -> None:
    body = anomaly_body(loop.namespace, SERVICE)

    with ThreadPoolExecutor(6) as agents:
        answers = list(agents.map(lambda _: loop.agent.post("/v1/signals/anomaly", body), range(6)))

    assert [status for status, _ in answers] == [202] * 6
    [signal] = {told["id"] for _, told in answers}
    assert loop.outcome(signal)["state"] == "succeeded"
    assert judge.changes() == [("SCALE", SERVICE)]


def test_amid_a_stream_of_other_peoples_changes_an_action_is_one_write(
    erp: TargetState, loop: Loop, judge: Judge, http: Client
) -> None:
    over = Event()

    def label() -> int:
        """How often, until all is over; but not forever: whoever never rests holds everybody off."""
        for number in range(40):
            http.patch(f"deployments/{SERVICE}", {"metadata": {"labels": {"number": str(number)}}})
            if over.wait(0.02):
                break
        return number

    with ThreadPoolExecutor(1) as others:
        labels = others.submit(label)
        answers = [loop.ask("scale", SERVICE, replicas=count) for count in (3, 4, 5)]
        over.set()

    assert labels.result() > 3
    assert [(status, told["success"]) for status, told in answers] == [(200, True)] * 3
    assert judge.changes() == [("SCALE", SERVICE)] * 3
    assert erp()["spec"]["replicas"] == 5
