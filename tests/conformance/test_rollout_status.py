"""kubectl is the referee of our verdicts, row by row: it reads each state from an API without controllers."""

from collections.abc import Iterator

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.rollout import rollout
from orchestrator.k8s.types import WorkloadKey
from signals.types import Kind
from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.cluster import Cluster
from smartops.dev.sandbox.resources import BY_NAME
from tests.kit.kubectl import Kubectl, kubectl_on
from tests.orchestrator.verification.rollouts import ROWS, Row

WEB = "web"


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """No controller answers to a workload there."""

    def send_controllers_away(cluster: Cluster) -> None:
        store = cluster.registry.store
        for kind in (BY_NAME["apps/v1", kind] for kind in Kind):
            for subscriber in tuple(store._subscribers[kind]):
                store.unsubscribe(kind, subscriber)

    with Sandbox() as sandbox:
        sandbox.call(send_controllers_away)
        yield sandbox


@pytest.fixture(scope="module")
def kubectl(still: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return kubectl_on(still.kubeconfig, "default", tmp_path_factory.mktemp("kubectl"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_kubectl_says_of_each_state_what_the_table_says(still: Sandbox, kubectl: Kubectl, row: Row) -> None:
    still.call(lambda cluster: cluster.registry.store.put(BY_NAME["apps/v1", row.kind], row.manifest))
    ran = kubectl("rollout", "status", f"{row.kind}/{WEB}", "--watch=false")
    assert (ran.code, ran.said) == (int(row.kubectl.startswith("error: ")), f"{row.kubectl}\n")
    verdict = rollout(KubernetesCluster(still.kubeconfig).get_workload(WorkloadKey("default", WEB, row.kind)))
    assert type(verdict) is row.verdict
