"""What is read from the cluster of a name that is not known."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.k8s import identify as in_cluster
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.errors import Forbidden, NotFound
from orchestrator.k8s.parse import parse_controlled, parse_controller, parse_service_selector
from orchestrator.k8s.types import WorkloadKey
from signals.identity import Identified, Unidentified, identify
from signals.types import Kind, Link, Named, Source
from tests.kit.deployments import live

POD, RS = Link("Pod", "web-5d8-x2x4z"), Link("ReplicaSet", "web-5d8")


class FakeCluster:
    """Objects by their kind and name, each with its controller."""

    def __init__(self, controllers: dict[Link, Link | None] | None = None, error: Exception | None = None) -> None:
        self.controllers, self.error, self.selectors = controllers or {}, error, {"shop": "app=web"}

    def get_controller(self, kind: str, namespace: str, name: str) -> Link | None:
        if self.error:
            raise self.error
        try:
            return self.controllers[Link(kind, name)]
        except KeyError:
            raise NotFound(f"{kind} {namespace}/{name} not found", code=404) from None

    def get_service_selector(self, namespace: str, name: str) -> str:
        try:
            return self.selectors[name]
        except KeyError:
            raise NotFound(f"Service {namespace}/{name} not found", code=404) from None

    def list_controllers(self, namespace: str, selector: str) -> list[tuple[Link, Link | None]]:
        return [(link, owner) for link, owner in self.controllers.items() if link.kind == "Pod"]


OWNED: dict[Link, Link | None] = {POD: RS, RS: Link("Deployment", "web")}


@pytest.fixture
def cache() -> ClusterCache:
    found = ClusterCache(None, ["shop"], lambda _: None)  # type: ignore[arg-type]
    deployments = [WorkloadKey("shop", name) for name in ("web", "tomcat")]
    for key in (*deployments, WorkloadKey("shop", "db", Kind.STATEFUL_SET)):
        found._workloads[key] = replace(live(), key=key, containers=("proxy", f"{key.name}-app"))
    return found


def read(name: str, by: str, cluster: Any, cache: ClusterCache, namespace: str = "shop") -> Identified | Unidentified:
    named = Named(Source.ANOMALY, "prod", namespace, name, by)
    return identify(named, in_cluster.read(named, cluster, cache))


@pytest.mark.parametrize(
    ("name", "by", "kind", "workload"),
    [
        (POD.name, "pod", Kind.DEPLOYMENT, "web"),
        ("web-5d8", "replicaset", Kind.DEPLOYMENT, "web"),
        ("web-7f9-zzzzz", "pod", Kind.DEPLOYMENT, "web"),
        ("db-3", "pod", Kind.STATEFUL_SET, "db"),
        ("shop", "service", Kind.DEPLOYMENT, "web"),
        ("shop", "job", Kind.DEPLOYMENT, "web"),
        ("shop", "", Kind.DEPLOYMENT, "web"),
        ("db-app", "container", Kind.STATEFUL_SET, "db"),
        ("web", "", Kind.DEPLOYMENT, "web"),
    ],
)
def test_a_name_leads_to_a_workload(name: str, by: str, kind: Kind, workload: str, cache: ClusterCache) -> None:
    found = read(name, by, FakeCluster(OWNED), cache)

    assert isinstance(found, Identified)
    assert (found.target.kind, found.target.name) == (kind, workload)


@pytest.mark.parametrize(
    ("name", "by", "message"),
    [
        ("Tomcat01", "", "No workload of the namespace “shop” is known by the name “Tomcat01”."),
        ("elsewhere", "service", "is known by the name service “elsewhere”."),
        ("proxy", "container", "may belong to several workloads"),
        ("nightly-1", "job_name", "Job nightly-1 leads to no Deployment"),
        ("gone-7f9-zzzzz", "pod", "is known by the name pod"),
        ("../secrets", "pod", "No workload of the namespace “shop” is known by the name pod “../secrets”."),
    ],
)
def test_a_name_that_leads_to_no_single_workload_says_why(
    name: str, by: str, message: str, cache: ClusterCache
) -> None:
    found = read(name, by, FakeCluster(OWNED), cache)

    assert isinstance(found, Unidentified)
    assert message in found.message


def test_a_service_without_pods_or_selector_leads_nowhere(cache: ClusterCache) -> None:
    cluster = FakeCluster()
    for selector in ("app=web", ""):
        cluster.selectors["shop"] = selector
        assert "Service shop leads to no" in str(read("shop", "service", cluster, cache))


def test_a_pod_of_a_service_may_have_no_controller(cache: ClusterCache) -> None:
    cluster = FakeCluster({Link("Pod", "bare"): None})

    assert "Service shop → Pod bare leads to no" in str(read("shop", "service", cluster, cache))
    assert "Pod bare leads to no" in str(read("bare", "pod", cluster, cache))


def test_what_the_api_server_refuses_is_part_of_the_message(cache: ClusterCache) -> None:
    found = read("abc", "pod", FakeCluster(error=Forbidden("pods is forbidden", code=403)), cache)

    assert "pods is forbidden" in str(found)


def test_a_namespace_that_is_not_managed_is_not_read(cache: ClusterCache) -> None:
    assert "does not manage" in str(read(POD.name, "pod", None, cache, namespace="other"))


def test_the_nearest_names_are_those_of_the_namespace(cache: ClusterCache) -> None:
    assert in_cluster.read(Named(Source.RCA, "prod", "shop", "Tomcat01"), FakeCluster(), cache).nearest == ("tomcat",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (None, None),
        ([{"kind": "ReplicaSet", "name": "a", "apiVersion": "apps/v1"}], None),
        ([{"kind": "ReplicaSet", "name": "a", "apiVersion": "apps/v1", "controller": True}], Link("ReplicaSet", "a")),
        ([{"kind": "Node", "name": "n", "apiVersion": "v1", "controller": True}], Link("Node", "n")),
        ([{"kind": "Job", "name": "j", "apiVersion": "batch/v1", "controller": True}], Link("Job", "j")),
        (
            [{"kind": "StatefulSet", "name": "k", "apiVersion": "apps.kruise.io/v1beta1", "controller": True}],
            Link("StatefulSet.apps.kruise.io", "k"),
        ),
    ],
)
def test_the_controller_is_the_owner_that_manages_the_object(references: Any, expected: Link | None) -> None:
    raw = {"metadata": {"name": "p", "ownerReferences": references}}

    assert parse_controller(raw) == expected
    assert parse_controlled(raw) == (Link("Pod", "p"), expected)


def test_the_selector_of_a_service_is_one_of_a_list_request() -> None:
    assert parse_service_selector({"spec": {"selector": {"b": "2", "a": "1"}}}) == "a=1,b=2"
    assert parse_service_selector({"spec": {"type": "ExternalName"}}) == ""
