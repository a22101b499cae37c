"""Whose rollout it is, since when, and whether it is in progress: what a cluster shows of it in a Deployment."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any

import pytest

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.revision import latest_rollout, progress_deadline
from orchestrator.k8s.types import FIELD_MANAGER, Preconditions, WorkloadKey
from tests.kit.client import Client, Object
from tests.kit.manifests import deployment

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
S = RolloutState
SOON = 60.0  # seconds
SLOW: dict[str, Any] = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}


@pytest.fixture
def seen(cluster: KubernetesCluster, namespace: str) -> Callable[[], RolloutFacts]:
    return lambda: latest_rollout(cluster.get_workload(WorkloadKey(namespace, "web")))


def until(seen: Callable[[], RolloutFacts], *states: RolloutState) -> RolloutFacts:
    deadline = monotonic() + SOON
    while (found := seen()).state not in states:
        assert monotonic() < deadline, found
        sleep(0.05)
    return found


def grown_up(http: Client) -> None:
    """Rolled out, and older than the resolution of the times in managedFields."""
    http.rolled_out("web")
    created = datetime.fromisoformat(http.get("deployments/web")["metadata"]["creationTimestamp"])
    sleep(max(0.0, (created + timedelta(seconds=2.1) - datetime.now(UTC)).total_seconds()))


def template(**annotations: str) -> Object:
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def just_now(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(seconds=SOON)


def test_the_first_rollout_is_nobodys_change(http: Client, seen: Callable[[], RolloutFacts]) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "1s"}), fieldManager="kubectl-create")

    found = until(seen, S.IN_PROGRESS)
    assert (found.by, found.first, found.ours, found.changed_at) == ("kubectl-create", True, False, None)
    assert just_now(found.since)
    done = until(seen, S.COMPLETE)
    assert (done.first, done.changed_at, done.total) == (True, None, 2)
    assert just_now(done.until)


def test_a_change_of_the_template_is_the_rollout_of_its_manager(http: Client, seen: Callable[[], RolloutFacts]) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}, **SLOW))
    grown_up(http)

    http.patch("deployments/web", template(note="x"), fieldManager="kubectl-set")
    found = until(seen, S.IN_PROGRESS)
    assert (found.by, found.changed_by, found.ours, found.first) == ("kubectl-set", "kubectl-set", False, False)
    until(seen, S.COMPLETE)
    assert seen().changed_by == "kubectl-set"


def test_our_restart_is_our_rollout(
    http: Client, seen: Callable[[], RolloutFacts], cluster: KubernetesCluster, namespace: str
) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}, **SLOW))
    http.rolled_out("web")
    key = WorkloadKey(namespace, "web")
    live = cluster.get_workload(key)

    cluster.restart_workload(key, "a", preconditions=Preconditions(live.uid, live.resource_version), action="a")
    found = until(seen, S.IN_PROGRESS)
    assert (found.by, found.ours, found.changed_at) == (FIELD_MANAGER, True, None)
    until(seen, S.COMPLETE)


def test_a_change_of_other_fields_by_the_same_manager_is_no_rollout(
    http: Client, seen: Callable[[], RolloutFacts]
) -> None:
    http.create("deployments", deployment(replicas=1), fieldManager="operator")
    http.rolled_out("web")
    http.patch("deployments/web", {"metadata": {"annotations": {"seen": "1"}}}, fieldManager="operator")
    http.patch("deployments/web", {"spec": {"replicas": 2}}, fieldManager="operator")

    found = until(seen, S.COMPLETE)
    assert (found.first, found.changed_at) == (True, None) or found.changed_by == "operator"  # within the clocks' skew
    assert found.state is S.COMPLETE


def test_a_change_of_scale_and_a_failing_pod_are_no_rollout(http: Client, seen: Callable[[], RolloutFacts]) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}))
    http.rolled_out("web")
    http.patch("deployments/web", {"spec": {"replicas": 4}})
    deadline = monotonic() + SOON
    while http.get("deployments/web")["status"].get("readyReplicas") != 4:
        is_observed = http.get("deployments/web")["status"]["observedGeneration"] >= 2  # and stays so
        assert seen().state is S.COMPLETE or not is_observed
        assert monotonic() < deadline
    [pod, *_] = http.get("pods")["items"]
    http.send("DELETE", f"pods/{pod['metadata']['name']}")

    assert seen().state is S.COMPLETE


def test_a_rollout_without_progress_is_stuck_and_an_undo_is_another_one(
    http: Client, seen: Callable[[], RolloutFacts], cluster: KubernetesCluster, namespace: str
) -> None:
    http.create("deployments", deployment(replicas=1))
    grown_up(http)
    crash = template(**{"sim/outcome": "crash"})
    http.patch("deployments/web", {"spec": {**crash["spec"], "progressDeadlineSeconds": 2}}, fieldManager="helm")
    until(seen, S.IN_PROGRESS)
    live = cluster.get_workload(WorkloadKey(namespace, "web"))
    own = progress_deadline(live)
    assert live.observed_generation < live.generation or (own is not None and just_now(own))

    stuck = until(seen, S.STUCK)
    assert (stuck.by, stuck.ours, stuck.first) == ("helm", False, False)
    assert just_now(stuck.until)

    http.patch("deployments/web", template(**{"sim/outcome": "ready"}), fieldManager="kubectl-rollout")
    assert until(seen, S.COMPLETE, S.IN_PROGRESS).by == "kubectl-rollout"
    until(seen, S.COMPLETE)
