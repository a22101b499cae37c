"""By what a Deployment is recognized as SmartOps' own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.k8s import itself
from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.types import WorkloadKey
from tests.chart.rendering import objects

NAME, PART_OF = {"app.kubernetes.io/name": "smartops-orchestrator"}, {"app.kubernetes.io/part-of": "smartops"}
METADATA = {"namespace": "shop", "name": "loop", "uid": "uid-1", "resourceVersion": "7"}
BY_NAME = "the label app.kubernetes.io/name=smartops-orchestrator"


@pytest.fixture(autouse=True)
def outside_of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "namespace"
    monkeypatch.setattr(itself, "NAMESPACE_FILE", file)
    itself.own_deployment.cache_clear()
    yield file
    itself.own_deployment.cache_clear()


def mark(metadata: dict[str, Any] | None = None, **spec: Any) -> str:
    return parse_workload({"metadata": METADATA | (metadata or {}), "spec": spec}).part_of_smartops


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (mark({"labels": NAME}), BY_NAME),
        (mark({"labels": PART_OF}), "the label app.kubernetes.io/part-of=smartops"),
        (mark(selector={"matchLabels": NAME}), BY_NAME),
        (mark(template={"metadata": {"labels": NAME}}), BY_NAME),
        (
            mark(template={"spec": {"serviceAccountName": "smartops-orchestrator"}}),
            "the ServiceAccount smartops-orchestrator",
        ),
        (mark(), ""),
        (mark({"labels": {"app.kubernetes.io/name": "shop", "app.kubernetes.io/part-of": "erp"}}), ""),
        (mark({"labels": {"smartops": "managed"}}, template={"spec": {"serviceAccountName": "shop"}}), ""),
        (mark({"labels": None}, selector=None, template={"metadata": None, "spec": None}), ""),
    ],
)
def test_a_mark_of_the_chart_makes_a_deployment_an_own_one(found: str, expected: str) -> None:
    assert found == expected


def test_all_deployments_of_the_chart_stay_recognized_without_their_labels() -> None:
    deployments = [one for one in objects({}) if one["kind"] == "Deployment"]
    assert len(deployments) == 2

    for one in deployments:
        del one["metadata"]["labels"]
        one["metadata"] |= {"name": "renamed", "uid": "uid-1", "resourceVersion": "7"}
        assert parse_workload(one).part_of_smartops == BY_NAME


def test_a_process_in_a_pod_recognizes_its_own_deployment(
    monkeypatch: pytest.MonkeyPatch, outside_of_a_pod: Path
) -> None:
    outside_of_a_pod.write_text("shop\n")
    monkeypatch.setattr(itself, "gethostname", lambda: "loop-7c9d8f5b6-x2v4q")

    assert itself.own_deployment() == WorkloadKey("shop", "loop")
    assert mark() == "the pod of this process"
    assert mark({"name": "web"}) == mark({"namespace": "billing"}) == ""


def test_a_process_whose_host_has_no_pods_name_has_no_deployment(
    monkeypatch: pytest.MonkeyPatch, outside_of_a_pod: Path
) -> None:
    assert itself.own_deployment() is None
    itself.own_deployment.cache_clear()
    outside_of_a_pod.write_text("shop\n")
    monkeypatch.setattr(itself, "gethostname", lambda: "node1")

    assert itself.own_deployment() is None
