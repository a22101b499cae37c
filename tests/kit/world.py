"""A sandbox cluster, a reconciler for it, and short words for what the tests say."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import urllib3

from guardrails.models import GuardrailSetting
from guardrails.types import RolloutState
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.revision import rollout_state
from orchestrator.k8s.target import TargetState
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action
from orchestrator.reconciler.loop import Reconciler
from signals.models import Signal
from signals.types import Kind, Target
from smartops.dev.sandbox.sandbox import Sandbox
from smartops.dev.sandbox.server import Recorded
from tests.kit import manifests
from tests.kit.client import MERGE, Client
from tests.kit.manifests import Object
from tests.kit.patience import PATIENCE, eventually
from tests.kit.signals import NAMESPACE


def deployment(service: str, replicas: int = 2, **behaviour: str) -> Object:
    """In NAMESPACE. `behaviour` of its pods: outcome, ready_after, ..."""
    return manifests.deployment(service, replicas, namespace=NAMESPACE, sim=behaviour)


def of_kind(kind: Kind, service: str, replicas: int = 2, **behaviour: str) -> Object:
    """The same of any kind."""
    return manifests.workload(kind, service, replicas, namespace=NAMESPACE, sim=behaviour)


def endless(service: str) -> Object:
    """In NAMESPACE: its pods never become ready, and the Deployment controller never gives up."""
    made = deployment(service, outcome="stuck")
    made["spec"]["progressDeadlineSeconds"] = 2**31 - 1  # none
    return made


class World:
    """The cluster with its workloads, and the loop that watches over them."""

    def __init__(self, sandbox: Sandbox, tmp_path: Path) -> None:
        self.sandbox = sandbox
        self.cluster = KubernetesCluster(sandbox.kubeconfig)
        self._deployed = False
        self._manifest = tmp_path / "workloads.json"

    def deploy(self, *objects: Object, settled: bool = True) -> None:
        """Until no first rollout of them is in progress, complete or stuck, unless not `settled`."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self._manifest.write_text(
            "\n---\n".join(json.dumps(one) for one in (*(() if self._deployed else (namespace,)), *objects))
        )
        self._deployed = True
        self.sandbox.load(self._manifest)
        for one in objects if settled else ():
            if one["kind"] in set(Kind):
                made = one["metadata"]
                self._until_settled(WorkloadKey(made["namespace"], made["name"], Kind(one["kind"])))

    def settle(self, name: str) -> None:
        """Until its pods are ready: from then on nobody but us moves its version."""
        self.cluster.wait_for_rollout(WorkloadKey(NAMESPACE, name), timeout=PATIENCE)

    def _until_settled(self, key: WorkloadKey) -> None:
        def has_ended() -> bool:
            return rollout_state(self.cluster.get_workload(key)) is not RolloutState.IN_PROGRESS

        eventually(has_ended, f"the rollout of {key} does not end")

    def start_pods(self) -> None:
        """As the kubelet would: all that there are become ready."""
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        with closing(Client(self.sandbox.kubeconfig, NAMESPACE)) as kubelet:
            for pod in kubelet.get("pods")["items"]:
                kubelet.send("PATCH", f"pods/{pod['metadata']['name']}/status", {"status": ready}, MERGE)

    def deliver(self, late: Recorded) -> int:
        """A PATCH that was sent and did not arrive, as if the network had held it until now. The answer's status."""
        headers = {"Content-Type": late.content_type}
        answer = urllib3.request(
            late.method, f"{self.sandbox.url}{late.path}", body=late.body, headers=headers, retries=False
        )
        return answer.status

    def reconciler(self, *namespaces: str, **options: Any) -> Reconciler:
        return Reconciler(self.cluster, "default", namespaces or [NAMESPACE], **options)

    @contextmanager
    def reconciling(self, *namespaces: str) -> Iterator[Reconciler]:
        """The loop runs on a thread of its own, until the block ends."""
        reconciler = self.reconciler(*namespaces)
        thread = Thread(target=reconciler.run)
        thread.start()
        try:
            yield reconciler
        finally:
            reconciler.stop()
            thread.join(PATIENCE)
        assert not thread.is_alive()

    def drain(self, **options: Any) -> None:
        """Until nothing is due and nothing is being verified. `options`: of the reconciler."""
        self.reconciler(**options).run(drain=True)

    def observe(self, target: Target) -> TargetState:
        return TargetState(seen=True, object=self.cluster.get_workload(WorkloadKey.of(target)))

    def replicas(self, name: str, kind: Kind = Kind.DEPLOYMENT) -> int:
        return self.cluster.get_workload(WorkloadKey(NAMESPACE, name, kind)).replicas

    def writes(self) -> list[Any]:
        """The PATCHes of workloads that the cluster accepted, dry runs left out."""
        return [
            request
            for request in self.sandbox.requests
            if request.method == "PATCH" and request.status == 200 and "dryRun" not in request.path
        ]


@pytest.fixture
def world(transactional_db: None, tmp_path: Path) -> Iterator[World]:
    GuardrailSetting.objects.create(stabilization_seconds=0)
    with Sandbox() as sandbox:
        yield World(sandbox, tmp_path)


def only_signal() -> Signal:
    return Signal.objects.get()


def only_action() -> Action:
    return Action.objects.select_related("workload", "signal", "verification").get()
