"""The same tests on two clusters: on the sandbox, or on the real one that `CONFORMANCE_KUBECONFIG` leads to."""

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.k8s.client import KubernetesCluster
from smartops.dev.sandbox import Sandbox
from tests.conformance.control_plane import ControlPlane, RealControlPlane, SandboxControlPlane
from tests.conformance.release import Helm, fresh_namespace, program
from tests.kit.client import Client
from tests.kit.kubectl import Kubectl, kubectl_on


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """`CONFORMANCE_AUDIT_LOG` says where the real one writes its audit log, where that can be read."""
    if kubeconfig := os.environ.get("CONFORMANCE_KUBECONFIG"):
        audit_log = os.environ.get("CONFORMANCE_AUDIT_LOG")
        yield RealControlPlane(Path(kubeconfig), Path(audit_log) if audit_log else None)
        return
    with Sandbox(bookmark_every=1.0) as sandbox:
        yield SandboxControlPlane(sandbox)


@pytest.fixture(scope="session")
def simulated_kubelet(control_plane: ControlPlane) -> None:
    """Skips where pods do not behave as their annotations `sim/...` say: where there are nodes to run them."""
    if control_plane.real:
        with closing(Client(control_plane.kubeconfig)) as client:
            if client.get("/api/v1/nodes")["items"]:
                pytest.skip("this cluster runs its pods on nodes")


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a namespace of the test's own, which begins like the test's."""
    words = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    with fresh_namespace(control_plane, words) as name:
        yield name


@pytest.fixture
def http(control_plane: ControlPlane, namespace: str) -> Iterator[Client]:
    """Relative paths are of the test's namespace."""
    with closing(Client(control_plane.kubeconfig, namespace)) as client:
        yield client


@pytest.fixture
def cluster(control_plane: ControlPlane) -> KubernetesCluster:
    """The product's own client: what is tested, never the witness."""
    return KubernetesCluster(control_plane.kubeconfig)


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Kubectl:
    """Runs kubectl in the test's namespace."""
    return kubectl_on(control_plane.kubeconfig, namespace, tmp_path)


@pytest.fixture(scope="session")
def helm(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Installs the chart on a real control plane."""
    if not control_plane.real:
        pytest.skip("the sandbox has no Roles and no admission policies")
    if (found := program()) is None:
        pytest.skip("there is no helm; `make conformance` builds it")
    return Helm(found, control_plane.kubeconfig, tmp_path_factory.mktemp("helm"))
