"""The flows one by one, through the API, each judged by the audit log when it is over."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.client import Client
from tests.conformance.closed_loop.conftest import Judge, Loop
from tests.conformance.closed_loop.installation import Agent, Installation, installed
from tests.conformance.conftest import Kubectl, deployment
from tests.conformance.control_plane import ControlPlane

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SLOW = {"ready_after": "1h"}  # a rollout to step into


@pytest.fixture(scope="module")
def smartops(
    transactional_db: None, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    log = tmp_path_factory.mktemp("smartops") / "log"
    with installed(control_plane.kubeconfig, namespaces="*", log=log, reconcilers=1) as running:
        yield running


@pytest.fixture
def loop(smartops: Installation, token: str, namespace: str, judge: Judge) -> Iterator[Loop]:
    """Whatever a test makes SmartOps do: the judge finds nothing in it."""
    found = Loop(Agent(smartops.address, token), namespace)
    yield found
    assert judge.violations(found.claims()) == []


def replicas(http: Client, name: str) -> int:
    found: int = http.get(f"deployments/{name}")["spec"]["replicas"]
    return found


def evidence(action: Any) -> tuple[str, int, int, int]:
    seen = action["verification"]
    return seen["status"], seen["desired_replicas"], seen["ready_replicas"], seen["available_replicas"]


def test_a_resource_anomaly_adds_one_replica_which_is_verified(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl
) -> None:
    http.create("deployments", deployment("erp-simulator", replicas=2))

    action = loop.outcome(loop.anomaly("erp-simulator"))

    assert (action["type"], action["state"], action["reason"]) == ("SCALE", "succeeded", "RolloutComplete")
    assert evidence(action) == ("SUCCESS", 3, 3, 3)
    assert (action["before"]["replicas"], action["change"]) == (2, {"replicas": 3})
    assert judge.changes() == [("SCALE", "erp-simulator")]
    assert kubectl("rollout", "status", "deployment/erp-simulator", "--watch=false").code == 0
    assert replicas(http, "erp-simulator") == 3


def test_a_memory_leak_restarts_all_pods_which_is_verified(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl
) -> None:
    http.create("deployments", deployment("erp-simulator", replicas=2))
    http.rolled_out("erp-simulator")
    before = {pod["metadata"]["uid"] for pod in http.get("pods")["items"]}

    action = loop.outcome(loop.root_cause("erp-simulator"))

    assert (action["type"], action["state"], evidence(action)) == ("RESTART", "succeeded", ("SUCCESS", 2, 2, 2))
    assert judge.changes() == [("RESTART", "erp-simulator")]
    now = [pod for pod in http.get("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
    assert len(now) == 2
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in now)
    assert "smartops.io/restart" in kubectl("get", "pods", "-o", "jsonpath={..annotations}").said
