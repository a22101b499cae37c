"""SmartOps as it is installed, on the cluster under test."""

from collections.abc import Iterator

import pytest

from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import agent, judge, loop, namespaces, transactional_db
from tests.kit.installation import Installation, installed


@pytest.fixture(scope="module")
def smartops(
    transactional_db: None, control_plane: ControlPlane, namespaces: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A web process and two reconcilers side by side."""
    log = tmp_path_factory.mktemp("smartops") / "log"
    with installed(control_plane.kubeconfig, namespaces, log, reconcilers=2) as running:
        yield running


__all__ = ["agent", "judge", "loop", "namespaces", "transactional_db"]
