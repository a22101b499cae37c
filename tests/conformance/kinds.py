"""Workloads of each kind, for tests that hold for all of them."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator.k8s.types import WorkloadKey
from signals.types import Kind
from tests.conformance.control_plane import ControlPlane
from tests.kit import manifests
from tests.kit.client import MERGE, Client, Object

RESOURCES = {
    Kind.DEPLOYMENT: "deployments",
    Kind.STATEFUL_SET: "statefulsets",
    Kind.DAEMON_SET: "daemonsets",
}
NODES = ("conformance-a", "conformance-b")
SETS = pytest.mark.parametrize("kind", [Kind.STATEFUL_SET, Kind.DAEMON_SET])
SCALED = pytest.mark.parametrize("kind", [Kind.STATEFUL_SET])


@dataclass(frozen=True)
class Sample:
    """A workload of two pods: a DaemonSet selects two nodes."""

    http: Client
    kind: Kind
    namespace: str
    name: str = "erp-simulator"

    @property
    def resource(self) -> str:
        return RESOURCES[self.kind]

    @property
    def path(self) -> str:
        return f"{self.resource}/{self.name}"

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey(self.namespace, self.name, self.kind)

    def manifest(self, **options: Any) -> Object:
        made = manifests.workload(self.kind, self.name, 2, **options)
        if self.kind is Kind.DAEMON_SET:
            made["spec"]["template"]["spec"]["nodeSelector"] = {"conformance": "yes"}
        return made

    def create(self, **options: Any) -> Object:
        """Until it has rolled out, unless its pods are slow."""
        made = self.http.create(self.resource, self.manifest(**options))
        return made if options.get("sim") else self.rolled_out()

    def rolled_out(self, generation: int = 1) -> Object:
        return self.http.rolled_out(self.name, generation, self.resource)

    def patch(self, patch: Object, **query: str) -> Object:
        return self.http.patch(self.path, patch, MERGE, **query)

    def get(self) -> Object:
        return self.http.get(self.path)

    def pods(self) -> set[str]:
        """The uids of those that are not being deleted."""
        found = [pod["metadata"] for pod in self.http.get("pods")["items"]]
        return {metadata["uid"] for metadata in found if "deletionTimestamp" not in metadata}


Samples = Callable[[Kind], Sample]


@pytest.fixture(scope="session")
def nodes(control_plane: ControlPlane, simulated_kubelet: None) -> Iterator[None]:
    """Those that the DaemonSets of a Sample select. The simulated kubelet has none."""
    with closing(Client(control_plane.kubeconfig)) as client:
        for name in NODES:
            node = {"metadata": {"name": name, "labels": {"conformance": "yes"}}}
            assert client.send("POST", "/api/v1/nodes", node)[0] in (201, 409)
            client.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})  # as its controller does when it is ready
        yield
        for name in NODES:
            client.send("DELETE", f"/api/v1/nodes/{name}")


@pytest.fixture
def sample(http: Client, namespace: str, nodes: None) -> Samples:
    return lambda kind: Sample(http, kind, namespace)
