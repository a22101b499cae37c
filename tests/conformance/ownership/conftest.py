"""An installation of SmartOps, and others who write the same workloads as they really do."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import agent, judge, loop, namespaces, transactional_db
from tests.conformance.ownership.service import SERVICE, Runs
from tests.kit.client import Client, Object
from tests.kit.installation import Installation, installed
from tests.kit.manifests import deployment


@pytest.fixture(scope="module")
def smartops(
    transactional_db: None, control_plane: ControlPlane, namespaces: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """With one reconciler: what one answer shows it to have seen, it has seen for the next."""
    log = tmp_path_factory.mktemp("smartops") / "log"
    with installed(control_plane.kubeconfig, namespaces, log, reconcilers=1) as running:
        yield running


@pytest.fixture
def runs(http: Client) -> Runs:
    """Makes a service that runs; keywords go to its spec. Tells what became of it."""

    def run(name: str = SERVICE, **spec: Any) -> Object:
        http.create("deployments", deployment(name, **spec))
        return http.rolled_out(name)

    return run


__all__ = ["agent", "judge", "loop", "namespaces", "transactional_db"]
