"""What we may do, and the Events that we leave."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, Forbidden, NotFound
from orchestrator.k8s.events import MAX_MESSAGE, EventType, KubernetesEvent
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.permissions import PERMISSIONS, Permission
from orchestrator.k8s.types import WatchEventType, WorkloadKey
from signals.types import Kind
from tests.conformance.control_plane import ControlPlane
from tests.kit.client import Client
from tests.kit.kubectl import Kubectl, kubectl_on
from tests.kit.manifests import deployment


@pytest.fixture
def web(http: Client, namespace: str) -> WorkloadKey:
    http.create("deployments", deployment(replicas=0))
    return WorkloadKey(namespace, "web")


def granted(cluster: KubernetesCluster, right: Permission, namespace: str) -> bool:
    [answer] = {cluster.can_i(verb, right.group, right.resource, namespace) for verb in right.verbs}
    return answer


@pytest.mark.parametrize("missing", PERMISSIONS, ids=lambda right: f"{'-'.join(right.verbs)}-{right.resource}")
def test_a_right_that_is_missing_is_seen_beforehand_and_the_others_are_not(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, missing: Permission
) -> None:
    rights = [right for right in PERMISSIONS if right is not missing]
    with control_plane.granting(rights, namespace) as kubeconfig:
        cluster = KubernetesCluster(kubeconfig)
        assert [right for right in PERMISSIONS if granted(cluster, right, namespace)] == rights
        kubectl = kubectl_on(kubeconfig, namespace, tmp_path)
        assert kubectl("auth", "can-i", missing.verbs[0], missing.group_resource).said == "no\n"


def test_a_call_without_the_right_is_forbidden_and_changes_nothing(
    control_plane: ControlPlane, http: Client, web: WorkloadKey
) -> None:
    before = http.get("deployments/web")["spec"]
    with control_plane.granting([], web.namespace) as kubeconfig:
        cluster = KubernetesCluster(kubeconfig)
        for call in (
            lambda: cluster.scale_workload(web, 1),
            lambda: cluster.get_workload(web),
            lambda: cluster.list_workloads(Kind.DEPLOYMENT, web.namespace),
            lambda: cluster.create_event(note(web, "uid-1"), datetime.now(UTC)),
        ):
            with pytest.raises(Forbidden, match="is forbidden: User") as caught:
                call()
            assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
        with closing(cluster.watch_workloads(Kind.DEPLOYMENT, web.namespace, Interruption())) as events:
            refused = next(events)
        assert refused.type is WatchEventType.REFUSED
        assert "cannot list resource" in refused.message
    assert http.get("deployments/web")["spec"] == before


def test_an_account_with_all_rights_is_reported_so_by_us_and_by_kubectl(
    cluster: KubernetesCluster, kubectl: Kubectl, namespace: str
) -> None:
    assert all(granted(cluster, right, namespace) for right in PERMISSIONS)
    assert cluster.can_i("create", "", "pods/eviction", namespace)
    assert kubectl("auth", "can-i", "patch", "deployments.apps").said == "yes\n"


def note(key: WorkloadKey, uid: str, message: str = "Scaled to 4 replicas") -> KubernetesEvent:
    return KubernetesEvent(key, uid, EventType.WARNING, "SmartOpsRefused", message, about="action-1")


def test_an_event_is_told_once_on_its_deployment(
    cluster: KubernetesCluster, kubectl: Kubectl, http: Client, web: WorkloadKey
) -> None:
    told = note(web, http.get("deployments/web")["metadata"]["uid"])
    cluster.create_event(told, datetime.now(UTC))
    with pytest.raises(Conflict) as caught:
        cluster.create_event(told, datetime.now(UTC))
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")
    described = kubectl("describe", "deployment", "web").said
    [line] = [line.split() for line in described.splitlines() if "SmartOpsRefused" in line]
    assert line[:2] == ["Warning", "SmartOpsRefused"]
    assert line[3:] == ["smartops", "Scaled", "to", "4", "replicas"]
    assert kubectl("events", "--for", "deployment/web", "--types=Warning", "--no-headers").said.count("Scaled") == 1
    [stored] = http.get("events", fieldSelector="reason=SmartOpsRefused")["items"]
    assert stored["involvedObject"]["uid"] == told.uid
    assert [entry["manager"] for entry in stored["metadata"]["managedFields"]] == ["smartops"]


def test_a_long_event_is_cut_and_taken(cluster: KubernetesCluster, http: Client, web: WorkloadKey) -> None:
    cluster.create_event(note(web, "uid-1", "ä" * MAX_MESSAGE), datetime.now(UTC))
    [stored] = http.get("events", fieldSelector="reason=SmartOpsRefused")["items"]
    assert len(stored["message"].encode()) <= MAX_MESSAGE
    assert stored["message"].endswith("ä…")


def test_an_event_needs_its_namespace(cluster: KubernetesCluster) -> None:
    with pytest.raises(NotFound):
        cluster.create_event(note(WorkloadKey("no-such-namespace", "web"), "uid-1"), datetime.now(UTC))
