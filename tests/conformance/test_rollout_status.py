"""kubectl is the referee of our verdicts, row by row: it reads each state from an API without controllers."""

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.rollout import Complete, Failed, rollout
from orchestrator.k8s.types import WorkloadKey
from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.cluster import Cluster
from smartops.dev.sandbox.resources import DEPLOYMENT
from tests.kit.kubectl import Kubectl, kubectl_on
from tests.kit.manifests import deployment
from tests.orchestrator.verification.rollouts import DONE, EXCEEDED, ROWS, Row

WEB = WorkloadKey("default", "web")


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """Nobody answers to a Deployment there."""

    def send_controllers_away(cluster: Cluster) -> None:
        store = cluster.registry.store
        for subscriber in tuple(store._subscribers[DEPLOYMENT]):
            store.unsubscribe(DEPLOYMENT, subscriber)

    with Sandbox() as sandbox:
        sandbox.call(send_controllers_away)
        yield sandbox


@pytest.fixture(scope="module")
def kubectl(still: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return kubectl_on(still.kubeconfig, WEB.namespace, tmp_path_factory.mktemp("kubectl"))


def store(sandbox: Sandbox, row: Row) -> None:
    exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    status: dict[str, Any] = {
        "observedGeneration": row.observed,
        "replicas": row.replicas,
        "updatedReplicas": row.updated,
        "readyReplicas": row.available,
        "availableReplicas": row.available,
        "conditions": [exceeded] if row.exceeded else [],
    }
    metadata = {"name": WEB.name, "namespace": WEB.namespace, "uid": "uid-1", "generation": row.generation}
    web = {"metadata": metadata, "spec": deployment(replicas=row.desired)["spec"], "status": status}
    sandbox.call(lambda cluster: cluster.registry.store.put(DEPLOYMENT, web))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_kubectl_says_of_each_state_what_the_table_says(still: Sandbox, kubectl: Kubectl, row: Row) -> None:
    store(still, row)
    ran = kubectl("rollout", "status", "deployment/web", "--watch=false")
    assert (ran.code, ran.said) == (int(row.kubectl == EXCEEDED), f"{row.kubectl}\n")
    verdict = rollout(KubernetesCluster(still.kubeconfig).get_deployment_status(WEB))
    assert type(verdict) is row.verdict


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_rollout_is_never_complete_for_us_before_it_is_for_kubectl(row: Row) -> None:
    assert row.verdict is not Complete or row.kubectl == DONE
    assert (row.verdict is Failed) == (row.kubectl == EXCEEDED)
