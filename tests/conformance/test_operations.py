"""The eight operations through the product's client. What they say is also said by kubectl, or seen by plain HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, Invalid, NotFound, TimedOut
from orchestrator.k8s.rollout import Complete, rollout
from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey
from signals.proposals.restart import RESTART_ANNOTATION
from signals.types import Kind
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("simulated_kubelet")


@pytest.fixture
def web(http: Client, namespace: str) -> WorkloadKey:
    """Two pods, rolled out."""
    http.create("deployments", deployment(replicas=2))
    http.rolled_out("web")
    return WorkloadKey(namespace, "web")


def row(kubectl: Kubectl, *what: str) -> list[str]:
    """What a person sees of one object."""
    return kubectl("get", *what, "--no-headers").said.split()


def owners(found: Object, field: str) -> list[str]:
    """Who set this field of the spec, as the API server recorded it."""
    entries = found["metadata"]["managedFields"]
    return [entry["manager"] for entry in entries if f"f:{field}" in entry["fieldsV1"].get("f:spec", {})]


def test_pods_are_listed_as_kubectl_lists_them(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    http.create("deployments", deployment("other"))
    http.rolled_out("other")
    said = json.loads(kubectl("get", "pods", "-l", "app=web", "-o", "json").said)["items"]
    pods = cluster.list_pods(web.namespace, "app=web")
    assert [(pod.name, pod.uid, pod.phase) for pod in pods] == [
        (one["metadata"]["name"], one["metadata"]["uid"], one["status"]["phase"]) for one in said
    ]
    assert all(pod.ready for pod in pods)
    assert len(cluster.list_pods(web.namespace)) == 3
    assert cluster.list_pods(web.namespace, "app=nobody") == []


@pytest.mark.parametrize(
    ("outcome", "reason", "restarts"), [("crash", "CrashLoopBackOff", 5), ("stuck", "ImagePullBackOff", 0)]
)
def test_the_reason_why_a_pod_does_not_run_is_that_of_kubectl(
    cluster: KubernetesCluster, kubectl: Kubectl, http: Client, namespace: str, outcome: str, reason: str, restarts: int
) -> None:
    http.create("deployments", deployment(sim={"outcome": outcome}))
    http.wait("pods", lambda pod: bool(pod["status"].get("containerStatuses")))
    [pod] = cluster.list_pods(namespace)
    assert (pod.ready, pod.waiting_reason, pod.restarts) == (False, reason, restarts)
    assert row(kubectl, "pods")[:4] == [pod.name, "0/1", reason, str(restarts)]


def test_a_pod_is_evicted_only_while_it_is_the_one_that_was_meant(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    first, second = cluster.list_pods(web.namespace)
    with pytest.raises(Conflict):
        cluster.delete_pod(web.namespace, first.name, uid=second.uid)
    assert kubectl("get", "pod", first.name).code == 0

    cluster.delete_pod(web.namespace, first.name, uid=first.uid)
    http.wait("pods", lambda pod: pod["metadata"]["name"] not in (first.name, second.name))
    http.rolled_out("web")
    eventually(lambda: kubectl("get", "pod", first.name).code == 1, "the evicted pod is still there")
    assert kubectl("get", "pod", second.name).code == 0
    with pytest.raises(NotFound, match=first.name):
        cluster.delete_pod(web.namespace, first.name, uid=first.uid)


def test_deployments_are_listed_in_one_namespace_and_in_all(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    http.create("deployments", deployment("other", replicas=0))
    names = [each.key.name for each in cluster.list_workloads(Kind.DEPLOYMENT, web.namespace)]
    assert names == ["other", "web"]
    assert kubectl("get", "deployments", "-o", "name").said.split() == [f"deployment.apps/{name}" for name in names]
    everywhere = {each.key for each in cluster.list_workloads(Kind.DEPLOYMENT, "")}
    assert everywhere >= {WorkloadKey(web.namespace, name) for name in names}


def test_a_deployment_is_read_as_it_is(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    found, read = http.get("deployments/web"), cluster.get_workload(web)
    metadata, status = found["metadata"], found["status"]
    assert (read.uid, read.resource_version) == (metadata["uid"], metadata["resourceVersion"])
    assert (read.generation, read.observed_generation) == (metadata["generation"], status["observedGeneration"])
    assert (read.replicas, read.paused, read.deleting) == (2, False, False)
    counts = (read.status_replicas, read.updated_replicas, read.ready_replicas, read.available_replicas)
    assert counts == tuple(
        status[name] for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    )
    assert {(one.type, one.status, one.reason) for one in read.conditions} == {
        ("Available", "True", "MinimumReplicasAvailable"),
        ("Progressing", "True", "NewReplicaSetAvailable"),
    }
    assert row(kubectl, "deployment", "web")[:4] == ["web", "2/2", "2", "2"]


@pytest.mark.parametrize("replicas", [None, "left out"])
def test_replicas_that_nobody_gives_are_one(
    cluster: KubernetesCluster, kubectl: Kubectl, http: Client, namespace: str, replicas: str | None
) -> None:
    manifest = deployment(replicas=None)
    if replicas:
        del manifest["spec"]["replicas"]
    http.create("deployments", manifest)
    http.rolled_out("web")
    assert cluster.get_workload(WorkloadKey(namespace, "web")).replicas == 1
    assert row(kubectl, "deployment", "web")[1] == "1/1"


def test_replicas_that_are_taken_back_are_one_again(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    taken_back = http.patch("deployments/web", {"spec": {"replicas": None}})
    assert cluster.get_workload(web).replicas == 1
    http.rolled_out("web", taken_back["metadata"]["generation"])
    assert row(kubectl, "deployment", "web")[1] == "1/1"


def test_scaling_writes_the_size_and_whose_action_it_was(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before = cluster.get_workload(web)
    after = cluster.scale_workload(web, 4, action="action-1")
    assert (after.uid, after.replicas, after.generation) == (before.uid, 4, before.generation + 1)
    assert rollout(cluster.wait_for_rollout(web, PATIENCE)) == Complete("All 4 replicas are updated and available")

    found = http.get("deployments/web")
    assert found["metadata"]["annotations"][ACTION_ANNOTATION] == "action-1"
    assert owners(found, "replicas") == ["smartops"]
    assert row(kubectl, "deployment", "web")[1] == "4/4"
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web").said
    assert len(cluster.list_pods(web.namespace)) == 4


def test_a_restart_replaces_every_pod_once(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before = {pod.uid for pod in cluster.list_pods(web.namespace)}
    cluster.restart_workload(web, "action-1", action="action-1")
    cluster.wait_for_rollout(web, PATIENCE)
    after = {pod.uid for pod in cluster.list_pods(web.namespace)}
    assert len(after) == 2
    assert before.isdisjoint(after)
    found = http.get("deployments/web")
    assert found["spec"]["template"]["metadata"]["annotations"][RESTART_ANNOTATION] == "action-1"
    history = kubectl("rollout", "history", "deployment/web").said
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["1", "2"]

    again = cluster.restart_workload(web, "action-1", action="action-1")
    assert (again.generation, again.resource_version) == (
        found["metadata"]["generation"], found["metadata"]["resourceVersion"],
    )  # fmt: skip


def test_a_patch_changes_what_it_names(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before = http.get("deployments/web")["spec"]
    container = {"name": "app", "image": "example.test/app:2", "env": [{"name": "MODE", "value": "fast"}]}
    patch = {"metadata": {"annotations": {"team": "erp"}}, "spec": {"template": {"spec": {"containers": [container]}}}}
    cluster.patch_workload(web, patch, action="action-1")
    cluster.wait_for_rollout(web, PATIENCE)
    found = http.get("deployments/web")
    [was], [now] = before["template"]["spec"].pop("containers"), found["spec"]["template"]["spec"].pop("containers")
    assert now == was | container
    assert found["spec"] == before
    assert found["metadata"]["annotations"].items() >= {"team": "erp", ACTION_ANNOTATION: "action-1"}.items()
    assert "example.test/app:2" in row(kubectl, "deployment", "web", "-o", "wide")


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"replica": 3}},
        {"spec": {"template": {"spec": {"containers": [{"name": "app", "imag": "example.test/app:2"}]}}}},
        {"spec": {"template": {"spec": {"restartpolicy": "Always"}}}},
        {"spec": {"replicas": "3"}},
        {"spec": {"replicas": -1}},
        {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
    ],
)
def test_a_senseless_object_is_invalid(
    cluster: KubernetesCluster, web: WorkloadKey, http: Client, patch: Object
) -> None:
    before = http.get("deployments/web")
    with pytest.raises(Invalid):
        cluster.patch_workload(web, patch, action="action-1")
    assert http.get("deployments/web") == before


def test_an_object_that_does_not_exist_is_not_found(cluster: KubernetesCluster, web: WorkloadKey) -> None:
    nobody = WorkloadKey(web.namespace, "nobody")
    for call in (
        lambda: cluster.get_workload(nobody),
        lambda: cluster.scale_workload(nobody, 1),
        lambda: cluster.restart_workload(nobody, "action-1"),
        lambda: cluster.patch_workload(nobody, {}),
        lambda: cluster.delete_pod(web.namespace, "nobody", uid="uid-1"),
        lambda: cluster.wait_for_rollout(nobody, PATIENCE),
    ):
        with pytest.raises(NotFound, match="nobody"):
            call()


def test_waiting_for_a_rollout_ends_at_its_timeout_with_what_is_missing(
    cluster: KubernetesCluster, http: Client, namespace: str
) -> None:
    http.create("deployments", deployment(replicas=2, sim={"ready_after": "1h"}))
    http.wait("deployments", lambda found: found.get("status", {}).get("updatedReplicas") == 2)
    with pytest.raises(TimedOut, match="0 of 2 updated replicas are available"):
        cluster.wait_for_rollout(WorkloadKey(namespace, "web"), 1.0)


def test_waiting_for_a_rollout_ends_when_the_deployment_goes(
    cluster: KubernetesCluster, kubectl: Kubectl, http: Client, namespace: str
) -> None:
    http.create("deployments", deployment(sim={"ready_after": "1h"}))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cluster.wait_for_rollout, WorkloadKey(namespace, "web"), PATIENCE)
        assert kubectl("delete", "deployment", "web").code == 0
        with pytest.raises(NotFound):
            waiting.result()
