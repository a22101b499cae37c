"""Selectors and pages."""

from time import monotonic

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Expired, Invalid
from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.resources import DEPLOYMENTS
from signals.types import Kind
from tests.conformance.control_plane import ControlPlane
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment
from tests.kit.patience import eventually

LABELS = {"one": {"tier": "a"}, "two": {"tier": "a", "x": "y"}, "three": {"tier": "b"}, "none": {}}


def config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def names(found: Object) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.fixture
def seven(http: Client) -> list[str]:
    """Deployments without pods, in the order of lists."""
    made = [f"web-{number}" for number in range(7)]
    for name in made:
        http.create("deployments", deployment(name, replicas=0))
    return made


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"labelSelector": "tier=a"}, {"one", "two"}),
        ({"labelSelector": "tier==a"}, {"one", "two"}),
        ({"labelSelector": "tier!=a"}, {"three", "none"}),
        ({"labelSelector": "tier in (a,b),x"}, {"two"}),
        ({"labelSelector": "tier notin (a)"}, {"three", "none"}),
        ({"labelSelector": "!tier"}, {"none"}),
        ({"labelSelector": "tier=a,tier=b"}, set()),
        ({"fieldSelector": "metadata.name=two"}, {"two"}),
        ({"fieldSelector": "metadata.name!=two", "labelSelector": "tier=a"}, {"one"}),
        ({"fieldSelector": "metadata.namespace=elsewhere"}, set()),
    ],
)
def test_a_selector_selects_its_objects(
    http: Client, kubectl: Kubectl, selector: dict[str, str], expected: set[str]
) -> None:
    for name, labels in LABELS.items():
        http.create("configmaps", config_map(name, **labels))
    assert set(names(http.get("configmaps", **selector))) == expected
    flags = {"labelSelector": "--selector", "fieldSelector": "--field-selector"}
    said = kubectl("get", "cm", "-o", "name", *(f"{flags[name]}={value}" for name, value in selector.items())).said
    assert {line.removeprefix("configmap/") for line in said.split()} - {"kube-root-ca.crt"} == expected


@pytest.mark.parametrize(
    "query",
    [{"labelSelector": "a b"}, {"labelSelector": "a in b"}, {"fieldSelector": "spec.secret=1"}, {"limit": "many"}],
)
def test_senseless_queries_are_bad_requests(http: Client, query: dict[str, str]) -> None:
    status, refusal = http.send("GET", "configmaps", **query)
    assert (status, refusal["reason"]) == (400, "BadRequest")


def test_our_client_is_told_of_a_senseless_selector(cluster: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Invalid):
        cluster.list_pods(namespace, "a b")


def test_pages_together_are_the_list_as_it_was_at_the_first(http: Client, seven: list[str]) -> None:
    page = http.get("deployments", limit="3")
    first, seen = page["metadata"], names(page)
    assert first["remainingItemCount"] == 4
    http.create("deployments", deployment("web-3a", replicas=0))
    assert http.send("DELETE", "deployments/web-5")[0] == 200
    while token := page["metadata"].get("continue"):
        page = http.get("deployments", limit="3", **{"continue": token})
        assert page["metadata"]["resourceVersion"] == first["resourceVersion"]
        seen += names(page)
    assert seen == seven
    assert "remainingItemCount" not in page["metadata"]


def test_a_page_of_a_selection_does_not_count_the_remaining_items(http: Client, seven: list[str]) -> None:
    page = http.get("deployments", limit="3", fieldSelector="metadata.name!=web-0")
    assert names(page) == seven[1:4]
    assert page["metadata"].keys() == {"resourceVersion", "continue"}


def test_our_client_puts_pages_together(
    cluster: KubernetesCluster, namespace: str, seven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.k8s.connection.PAGE_SIZE", 2)
    assert [found.key.name for found in cluster.list_workloads(Kind.DEPLOYMENT, namespace)] == seven


def test_a_token_that_is_none_is_a_bad_request(http: Client) -> None:
    status, refusal = http.send("GET", "deployments", limit="3", **{"continue": "junk"})
    assert (status, refusal["reason"]) == (400, "BadRequest")


def test_a_list_that_takes_too_long_expires_and_can_go_on_as_it_is_now(
    control_plane: ControlPlane,
    cluster: KubernetesCluster,
    http: Client,
    namespace: str,
    seven: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.k8s.connection.PAGE_SIZE", 3)
    pages = cluster._collection(DEPLOYMENTS, parse_workload, namespace).pages()
    assert [found.key.name for found in next(pages).items] == seven[:3]
    page = http.get("deployments", limit="3")
    http.create("deployments", deployment("web-3a", replicas=0))
    control_plane.forget_history()
    status, refusal = until_it_expires(http, page["metadata"]["continue"])
    assert (status, refusal["reason"]) == (410, "Expired")
    with pytest.raises(Expired):
        next(pages)

    rest = http.get("deployments", **{"continue": refusal["metadata"]["continue"]})
    assert names(rest) == ["web-3", "web-3a", *seven[4:]]
    assert int(rest["metadata"]["resourceVersion"]) > int(page["metadata"]["resourceVersion"])


def until_it_expires(http: Client, token: str) -> tuple[int, Object]:
    """The first answer to it that is no page. An API server to which nothing is written has nothing to forget."""
    answers: list[tuple[int, Object]] = []

    def has_expired() -> bool:
        http.patch("deployments/web-0", {"metadata": {"labels": {"at": str(monotonic())}}})
        answers.append(http.send("GET", "deployments", limit="3", **{"continue": token}))
        return answers[-1][0] != 200

    eventually(has_expired, "it does not expire")
    return answers[-1]
