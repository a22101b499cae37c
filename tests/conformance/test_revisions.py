"""Whose rollout it is, since when, and whether it is in progress: what a cluster shows of it in a Deployment."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.revision import latest_rollout, progress_deadline
from orchestrator.k8s.types import FIELD_MANAGER, Preconditions, WorkloadKey
from tests.conformance.given_up import until_given_up
from tests.conformance.states import reached, version
from tests.kit.client import Client, Object
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
S = RolloutState
SLOW: dict[str, Any] = {"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}


@pytest.fixture
def seen(cluster: KubernetesCluster, namespace: str) -> Callable[[], RolloutFacts]:
    return lambda: latest_rollout(cluster.get_workload(WorkloadKey(namespace, "web")))


def grown_up(http: Client) -> None:
    """Rolled out, and older than the resolution of the times in managedFields."""
    http.rolled_out("web")
    created = datetime.fromisoformat(http.get("deployments/web")["metadata"]["creationTimestamp"])
    sleep(max(0.0, (created + timedelta(seconds=2.1) - datetime.now(UTC)).total_seconds()))


def template(**annotations: str) -> Object:
    return {"spec": {"template": {"metadata": {"annotations": annotations}}}}


def just_now(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(seconds=PATIENCE)


def test_the_first_rollout_is_nobodys_change(http: Client) -> None:
    made = deployment(replicas=2, sim={"ready_after": "1s"})
    created = version(http.create("deployments", made, fieldManager="kubectl-create"))

    found = latest_rollout(reached(http, created, S.IN_PROGRESS))
    assert (found.by, found.first, found.ours, found.changed_at) == ("kubectl-create", True, False, None)
    assert just_now(found.since)
    done = latest_rollout(reached(http, created, S.COMPLETE))
    assert (done.first, done.changed_at, done.total) == (True, None, 2)
    assert just_now(done.until)


def test_a_change_of_the_template_is_the_rollout_of_its_manager(http: Client) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}, **SLOW))
    grown_up(http)

    changed = version(http.patch("deployments/web", template(note="x"), fieldManager="kubectl-set"))
    found = latest_rollout(reached(http, changed, S.IN_PROGRESS))
    assert (found.by, found.changed_by, found.ours, found.first) == ("kubectl-set", "kubectl-set", False, False)
    assert latest_rollout(reached(http, changed, S.COMPLETE)).changed_by == "kubectl-set"


def test_our_restart_is_our_rollout(http: Client, cluster: KubernetesCluster, namespace: str) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}, **SLOW))
    http.rolled_out("web")
    key = WorkloadKey(namespace, "web")
    live = cluster.get_workload(key)
    guard = Preconditions(live.uid, live.resource_version)

    written = cluster.restart_workload(key, "a", preconditions=guard, action="a").resource_version
    found = latest_rollout(reached(http, written, S.IN_PROGRESS))
    assert (found.by, found.ours, found.changed_at) == (FIELD_MANAGER, True, None)
    reached(http, written, S.COMPLETE)


def test_a_change_of_other_fields_by_the_same_manager_is_no_rollout(http: Client) -> None:
    http.create("deployments", deployment(replicas=1), fieldManager="operator")
    http.rolled_out("web")
    http.patch("deployments/web", {"metadata": {"annotations": {"seen": "1"}}}, fieldManager="operator")
    scaled = version(http.patch("deployments/web", {"spec": {"replicas": 2}}, fieldManager="operator"))

    found = latest_rollout(reached(http, scaled, S.COMPLETE))
    assert (found.first, found.changed_at) == (True, None) or found.changed_by == "operator"  # within the clocks' skew
    assert found.state is S.COMPLETE


def test_a_change_of_scale_and_a_failing_pod_are_no_rollout(http: Client, seen: Callable[[], RolloutFacts]) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "500ms"}))
    http.rolled_out("web")
    http.patch("deployments/web", {"spec": {"replicas": 4}})

    def has_grown() -> bool:
        is_observed = http.get("deployments/web")["status"]["observedGeneration"] >= 2  # and stays so
        assert seen().state is S.COMPLETE or not is_observed
        return bool(http.get("deployments/web")["status"].get("readyReplicas") == 4)

    eventually(has_grown, "it has no 4 replicas")
    [pod, *_] = http.get("pods")["items"]
    http.send("DELETE", f"pods/{pod['metadata']['name']}")

    def is_replaced() -> bool:
        assert seen().state is S.COMPLETE
        running = [one["metadata"]["uid"] for one in http.get("pods")["items"] if one["status"]["phase"] == "Running"]
        return len(running) == 4 and pod["metadata"]["uid"] not in running

    eventually(is_replaced, "the pod is not replaced")


def test_a_rollout_without_progress_is_stuck_and_an_undo_is_another_one(http: Client) -> None:
    http.create("deployments", deployment(replicas=1))
    grown_up(http)
    crash = template(**{"sim/outcome": "crash"})
    patch = {"spec": {**crash["spec"], "progressDeadlineSeconds": 2}}
    changed = version(http.patch("deployments/web", patch, fieldManager="helm"))
    live = reached(http, changed, S.IN_PROGRESS)
    own = progress_deadline(live)
    assert live.observed_generation < live.generation or (own is not None and just_now(own))

    until_given_up(http, "web")
    stuck = latest_rollout(reached(http, changed, S.STUCK))
    assert (stuck.by, stuck.ours, stuck.first) == ("helm", False, False)
    assert just_now(stuck.until)

    undo = template(**{"sim/outcome": "ready"})
    undone = version(http.patch("deployments/web", undo, fieldManager="kubectl-rollout"))
    assert latest_rollout(reached(http, undone, S.COMPLETE, S.IN_PROGRESS)).by == "kubectl-rollout"
    reached(http, undone, S.COMPLETE)
