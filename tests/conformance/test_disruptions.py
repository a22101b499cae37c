"""Pods that a PodDisruptionBudget protects."""

from collections.abc import Callable

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import DisruptionBudget, Unknown
from orchestrator.k8s.types import Pod
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.patience import eventually

pytestmark = pytest.mark.usefixtures("simulated_kubelet")

Protect = Callable[..., Object]


@pytest.fixture
def pods(cluster: KubernetesCluster, http: Client, namespace: str) -> list[Pod]:
    """Three, ready."""
    http.create("deployments", deployment(replicas=3))
    http.rolled_out("web")
    return cluster.list_pods(namespace)


@pytest.fixture
def protect(http: Client) -> Protect:
    """Creates a budget, and waits until the controller has counted."""

    def create(name: str = "budget", **spec: object) -> Object:
        manifest = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "web"}}, **spec}}
        http.create("poddisruptionbudgets", manifest)
        return counted(http, 1)

    return create


def counted(http: Client, generation: int) -> Object:
    return http.wait(
        "poddisruptionbudgets", lambda found: found.get("status", {}).get("observedGeneration") == generation
    )


def test_a_budget_refuses_evictions_with_its_numbers_until_it_allows_them(
    cluster: KubernetesCluster, kubectl: Kubectl, http: Client, namespace: str, pods: list[Pod], protect: Protect
) -> None:
    protect(minAvailable=3)
    assert kubectl("get", "pdb", "budget", "--no-headers").said.split()[:4] == ["budget", "3", "N/A", "0"]
    first = pods[0]
    with pytest.raises(DisruptionBudget) as caught:
        cluster.delete_pod(namespace, first.name, uid=first.uid)
    assert (caught.value.code, caught.value.reason) == (429, "DisruptionBudget")
    assert caught.value.message == (
        "Cannot evict pod as it would violate the pod's disruption budget. "
        "The disruption budget budget needs 3 healthy pods and has 3 currently"
    )
    assert kubectl("get", "pod", first.name).code == 0

    http.patch("poddisruptionbudgets/budget", {"spec": {"minAvailable": 2}})
    counted(http, 2)
    cluster.delete_pod(namespace, first.name, uid=first.uid)
    http.wait("pods", lambda pod: pod["metadata"]["uid"] not in {pod.uid for pod in pods})
    eventually(lambda: kubectl("get", "pod", first.name).code == 1, "the evicted pod is still there")


def test_a_budget_is_used_up_by_the_eviction_it_allows(
    cluster: KubernetesCluster, http: Client, namespace: str, protect: Protect
) -> None:
    template = deployment()["spec"]["template"]
    for name in ("first", "second"):  # nobody replaces them
        pod = {**template, "metadata": {**template["metadata"], "name": name}}
        eventually(lambda: http.send("POST", "pods", pod)[0] == 201, "the namespace has no ServiceAccount")  # noqa: B023
        http.wait("pods", lambda pod: pod["status"]["phase"] == "Running", fieldSelector=f"metadata.name={name}")
    first, second = cluster.list_pods(namespace)
    protect(minAvailable=1)
    http.wait("poddisruptionbudgets", lambda found: found["status"]["disruptionsAllowed"] == 1)  # it has seen both
    cluster.delete_pod(namespace, first.name, uid=first.uid)
    said = (
        "needs 1 healthy pods and has 1 currently|does not allow evicting pods currently"  # the latter until it counts
    )
    with pytest.raises(DisruptionBudget, match=said):
        cluster.delete_pod(namespace, second.name, uid=second.uid)


def test_a_plain_deletion_knows_no_budget(kubectl: Kubectl, pods: list[Pod], protect: Protect) -> None:
    protect(minAvailable=3)
    assert kubectl("delete", "pod", pods[0].name).code == 0  # why we evict


def test_a_pod_that_is_not_ready_can_go_where_the_policy_says_so(
    cluster: KubernetesCluster, http: Client, namespace: str, protect: Protect
) -> None:
    http.create("deployments", deployment(sim={"outcome": "crash"}))
    http.wait("pods", lambda pod: bool(pod["status"].get("containerStatuses")))
    [pod] = cluster.list_pods(namespace)
    protect(minAvailable=1)
    with pytest.raises(DisruptionBudget, match="needs 1 healthy pods and has 0 currently"):
        cluster.delete_pod(namespace, pod.name, uid=pod.uid)
    http.patch("poddisruptionbudgets/budget", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})
    counted(http, 2)
    cluster.delete_pod(namespace, pod.name, uid=pod.uid)


def test_two_budgets_over_one_pod_are_an_error_of_the_server(
    cluster: KubernetesCluster, namespace: str, pods: list[Pod], protect: Protect
) -> None:
    protect("one", minAvailable=1)
    protect("two", minAvailable=1)
    with pytest.raises(Unknown, match="more than one PodDisruptionBudget"):
        cluster.delete_pod(namespace, pods[0].name, uid=pods[0].uid)
