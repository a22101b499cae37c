"""Evictions, and the budgets that bound them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.client import Client, Object
from tests.kit.manifests import deployment

PODS = "pods"
BUDGETS = "poddisruptionbudgets"
COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def evict(client: Client, pod: str, **options: Any) -> tuple[int, Any]:
    return client.send("POST", f"{PODS}/{pod}/eviction", {"metadata": {"name": pod}, "deleteOptions": options})


@pytest.fixture
def pods(client: Client) -> list[Object]:
    client.create("deployments", deployment(replicas=3))
    client.rolled_out("web")
    return list(client.get(PODS)["items"])


@pytest.fixture
def budget(client: Client) -> Callable[..., Object]:
    """Creates one and waits until the controller has seen it."""

    def create(**spec: Any) -> Object:
        selector = {"selector": {"matchLabels": {"app": "web"}}}
        client.create(BUDGETS, {"metadata": {"name": "budget"}, "spec": selector | spec})
        return client.wait(BUDGETS, lambda found: found["status"].get("observedGeneration") == 1)

    return create


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({"minAvailable": 2}, (1, 3, 2, 3)),
        ({"minAvailable": 5}, (0, 3, 5, 3)),
        ({"minAvailable": "50%"}, (1, 3, 2, 3)),
        ({"maxUnavailable": 2}, (2, 3, 1, 3)),
        ({"maxUnavailable": "50%"}, (2, 3, 1, 3)),
        ({"maxUnavailable": 9}, (3, 3, 0, 3)),
        ({}, (0, 3, 0, 0)),
        ({"minAvailable": 1, "selector": None}, (0, 0, 1, 0)),
        ({"minAvailable": 1, "selector": {}}, (2, 3, 1, 3)),
    ],
)
def test_a_budget_counts_what_it_allows(
    pods: list[Object], budget: Callable[..., Object], spec: Object, counts: tuple[int, ...]
) -> None:
    status = budget(**spec)["status"]
    assert tuple(status[name] for name in COUNTS) == counts
    assert status["conditions"][0]["status"] == str(counts[0] > 0)


def test_an_eviction_deletes_the_pod(client: Client, pods: list[Object]) -> None:
    name, uid = pods[0]["metadata"]["name"], pods[0]["metadata"]["uid"]
    status, refusal = evict(client, name, preconditions={"uid": "another"})
    assert (status, refusal["reason"], refusal["details"]["kind"]) == (409, "Conflict", "Pod")
    assert evict(client, name, dryRun=["All"])[0] == 201
    assert "deletionTimestamp" not in client.get(f"{PODS}/{name}")["metadata"]
    status, answer = evict(client, name, preconditions={"uid": uid})
    assert (status, answer["status"]) == (201, "Success")
    assert client.wait(PODS, lambda pod: pod["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in pods})
    assert evict(client, "none")[0] == 404


def test_a_budget_allows_one_eviction_at_a_time(client: Client, budget: Callable[..., Object]) -> None:
    client.create("deployments", deployment(replicas=3))
    client.rolled_out("web")
    for replaces_pods in ("deployments", "replicasets"):
        [one] = client.get(replaces_pods)["items"]
        client.send("DELETE", f"{replaces_pods}/{one['metadata']['name']}", {"propagationPolicy": "Orphan"})
    budget(minAvailable=2)
    first, second, _ = (pod["metadata"]["name"] for pod in client.get(PODS)["items"])
    assert evict(client, first)[0] == 201
    response = client.raw("POST", f"{PODS}/{second}/eviction", {"metadata": {"name": second}})
    refusal = response.json()
    assert (response.status, refusal["reason"], "Retry-After" in response.headers) == (429, "TooManyRequests", False)
    said = "The disruption budget budget needs 2 healthy pods and has 2 currently"
    assert refusal["details"]["causes"] == [{"reason": "DisruptionBudget", "message": said}]


@pytest.mark.parametrize(
    "spec",
    [
        {"minAvailable": 1, "maxUnavailable": 1},
        {"minAvailable": -1},
        {"maxUnavailable": "many"},
        {"minAvailable": "150%"},
        {"unhealthyPodEvictionPolicy": "Never"},
    ],
)
def test_senseless_budgets_are_invalid(client: Client, spec: Object) -> None:
    assert client.send("POST", BUDGETS, {"metadata": {"name": "budget"}, "spec": spec})[0] == 422
