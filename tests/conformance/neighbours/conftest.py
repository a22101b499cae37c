"""An installation of SmartOps, and others who write the same workloads as they really do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.client import Client, Object
from tests.conformance.closed_loop.conftest import Loop, agent, judge, loop, namespaces, transactional_db
from tests.conformance.conftest import deployment
from tests.conformance.control_plane import ControlPlane
from tests.installation import Installation, installed
from tests.processes import until

SERVICE = "erp-simulator"


@pytest.fixture(scope="module")
def smartops(
    transactional_db: None, control_plane: ControlPlane, namespaces: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """With one reconciler: what one answer shows it to have seen, it has seen for the next."""
    log = tmp_path_factory.mktemp("smartops") / "log"
    with installed(control_plane.kubeconfig, namespaces, log, reconcilers=1) as running:
        yield running


Runs = Callable[..., Object]


@pytest.fixture
def runs(http: Client) -> Runs:
    """Makes a service that runs; keywords go to its spec. Tells what became of it."""

    def run(name: str = SERVICE, **spec: Any) -> Object:
        http.create("deployments", deployment(name, **spec))
        return http.rolled_out(name)

    return run


def held_back(loop: Loop, signal: str) -> str:
    """Why nothing comes of it. The reconciler's view may lag: then its action is what was held back."""
    found = loop.decided(signal)
    if found["state"] == "admitted":
        [action] = found["actions"]
        until(lambda: bool(loop.action(action["id"])["reason"]))
        found = loop.action(action["id"])
    return str(found["reason"])


__all__ = ["agent", "judge", "loop", "namespaces", "transactional_db"]
