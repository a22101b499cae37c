"""What becomes of a change, and that our verdict is the one of `kubectl rollout status`."""

import json
from collections.abc import Callable
from contextlib import closing

import pytest

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, NotFound
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.rollout import Complete, Failed, Progress, Progressing, rollout
from orchestrator.k8s.types import Preconditions, WatchEventType, WorkloadKey, WorkloadObject
from orchestrator.verification.judge import Expected, judge
from signals.reasons import Reason
from signals.types import Kind
from tests.conformance.given_up import until_given_up
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl, Ran
from tests.kit.manifests import deployment
from tests.kit.patience import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("simulated_kubelet")

ACTION = "action-1"


@pytest.fixture
def web(http: Client, namespace: str) -> WorkloadKey:
    """Two pods, rolled out."""
    http.create("deployments", deployment(replicas=2))
    http.rolled_out("web")
    return WorkloadKey(namespace, "web")


def failing(**annotations: str) -> Object:
    """Pods that behave otherwise take the place of those that there are; the rollout has a second to move."""
    behaviour = {f"sim/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return {"spec": {"progressDeadlineSeconds": 1, "template": {"metadata": {"annotations": behaviour}}}}


SLOW = {"spec": {"template": {"metadata": {"annotations": {"sim/ready-after": "1h"}}}}}  # longer than any test


def expected(before: WorkloadObject, after: WorkloadObject, replicas: int | None = None) -> Expected:
    return Expected(after.uid, after.generation, ACTION, replicas, before.replicas)


def is_observed(found: Object, written: WorkloadObject) -> bool:
    """The controller has acted on it, at least once."""
    return bool(found["status"]["observedGeneration"] >= written.generation)


def status(kubectl: Kubectl) -> Ran:
    """What kubectl says of the rollout as it is now."""
    return kubectl("rollout", "status", "deployment/web", "--watch=false")


def columns(kubectl: Kubectl) -> list[str]:
    """READY, UP-TO-DATE, AVAILABLE"""
    return kubectl("get", "deployment", "web", "--no-headers").said.split()[1:4]


def verified(
    cluster: KubernetesCluster, key: WorkloadKey, wanted: Expected, meanwhile: Callable[[], object]
) -> Progress:
    """The verdict in the end, as a watch tells it; `meanwhile` happens once the watch has brought everything."""
    with closing(cluster.watch_workloads(Kind.DEPLOYMENT, key.namespace, Interruption())) as events:
        for event in events:
            if event.type is WatchEventType.SYNCED:
                meanwhile()
                continue
            verdict = judge(event.object if event.type is WatchEventType.CHANGED else None, wanted)
            if not isinstance(verdict, Progressing):
                return verdict
    raise AssertionError("the watch ended")


def test_a_rollout_that_succeeds_is_complete_for_us_and_for_kubectl(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey
) -> None:
    before = cluster.get_workload(web)
    after = cluster.restart_workload(web, ACTION, action=ACTION)
    done = cluster.wait_for_rollout(web, PATIENCE)
    assert judge(done, expected(before, after)) == Complete("All 2 replicas are updated and available")
    assert status(kubectl) == Ran(0, 'deployment "web" successfully rolled out\n')
    assert columns(kubectl) == ["2/2", "2", "2"]


def test_a_rollout_under_way_is_progressing_for_us_and_for_kubectl(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before = cluster.get_workload(web)
    after = cluster.patch_workload(web, SLOW, action=ACTION)
    http.wait("deployments", lambda found: is_observed(found, after) and found["status"].get("updatedReplicas") == 1)
    verdict = judge(cluster.get_workload(web), expected(before, after))
    assert verdict == Progressing("1 of 2 replicas are updated")
    waiting = 'Waiting for deployment "web" rollout to finish: 1 out of 2 new replicas have been updated...\n'
    assert status(kubectl) == Ran(0, waiting)
    assert columns(kubectl) == ["2/2", "1", "2"]


@pytest.mark.parametrize(
    ("outcome", "reason"), [("stuck", "ImagePullBackOff"), ("crash", "CrashLoopBackOff"), ("ready", "")]
)
def test_a_rollout_that_stalls_has_failed_at_its_deadline(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client, outcome: str, reason: str
) -> None:
    before = cluster.get_workload(web)
    ready_after = "1h" if outcome == "ready" else "10ms"
    after = cluster.patch_workload(web, failing(outcome=outcome, ready_after=ready_after), action=ACTION)
    until_given_up(http, "web")
    verdict = judge(cluster.wait_for_rollout(web, PATIENCE), expected(before, after))
    assert isinstance(verdict, Failed)
    assert verdict.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert "has timed out progressing" in verdict.message
    said = status(kubectl)
    assert (said.code, said.said) == (1, 'error: deployment "web" exceeded its progress deadline\n')
    assert columns(kubectl) == ["2/2", "1", "2"]  # what ran before still does
    eventually(lambda: {pod.waiting_reason for pod in cluster.list_pods(web.namespace) if not pod.ready} == {reason})
    assert reason in kubectl("get", "pods").said


def test_a_failed_rollout_recovers_by_the_next_change(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    cluster.patch_workload(web, failing(outcome="crash"), action=ACTION)
    until_given_up(http, "web")
    assert isinstance(rollout(cluster.wait_for_rollout(web, PATIENCE)), Failed)
    assert kubectl("rollout", "undo", "deployment/web").code == 0
    assert isinstance(rollout(cluster.wait_for_rollout(web, PATIENCE)), Complete)
    assert status(kubectl).said == 'deployment "web" successfully rolled out\n'


def test_a_paused_deployment_waits_for_ever_and_then_rolls_out(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    assert kubectl("rollout", "pause", "deployment/web").code == 0
    before = cluster.get_workload(web)
    assert before.paused
    after = cluster.restart_workload(web, ACTION, action=ACTION)
    found = http.wait("deployments", lambda found: is_observed(found, after))
    progressing = {one["type"]: (one["status"], one["reason"]) for one in found["status"]["conditions"]}["Progressing"]
    assert progressing == ("Unknown", "DeploymentPaused")
    verdict = judge(cluster.get_workload(web), expected(before, after))
    assert verdict == Progressing("0 of 2 replicas are updated, and the Deployment is paused")
    waiting = 'Waiting for deployment "web" rollout to finish: 0 out of 2 new replicas have been updated...\n'
    assert status(kubectl) == Ran(0, waiting)
    assert columns(kubectl) == ["2/2", "0", "2"]

    scaled = cluster.scale_workload(web, 3, action=ACTION)  # it scales, but does not roll
    http.wait("deployments", lambda found: found["status"].get("availableReplicas") == 3)
    assert columns(kubectl) == ["3/3", "0", "3"]
    assert kubectl("rollout", "resume", "deployment/web").code == 0
    done = cluster.wait_for_rollout(web, PATIENCE)
    assert judge(done, expected(before, scaled, 3)) == Complete("All 3 replicas are updated and available")
    assert columns(kubectl) == ["3/3", "3", "3"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["rollout", "undo", "deployment/web"], "The change was undone: its annotation is gone"),
        (["scale", "deployment/web", "--replicas=0"], "Scaled from 2 to 0 replicas by somebody else"),
        (
            ["annotate", "deployment/web", "--overwrite", "smartops.io/action=action-2"],
            "Another action (action-2) followed",
        ),
        (["annotate", "deployment/web", "smartops.io/action-"], "The change was undone: its annotation is gone"),
    ],
)
def test_a_change_that_somebody_replaces_while_we_verify_is_superseded(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client, command: list[str], message: str
) -> None:
    before = cluster.get_workload(web)
    after = cluster.patch_workload(web, SLOW, action=ACTION)

    http.wait("deployments", lambda found: is_observed(found, after))  # there is a revision to go back to

    def meanwhile() -> None:
        assert isinstance(judge(cluster.get_workload(web), expected(before, after)), Progressing)
        assert kubectl(*command).code == 0

    assert verified(cluster, web, expected(before, after), meanwhile) == Failed(Reason.SUPERSEDED, message)


def test_a_manifest_that_somebody_puts_back_supersedes_our_change(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey
) -> None:
    manifest = json.dumps(deployment(replicas=2))
    before = cluster.get_workload(web)
    after = cluster.patch_workload(web, SLOW, action=ACTION)
    verdict = verified(cluster, web, expected(before, after), lambda: kubectl("replace", "-f", "-", stdin=manifest))
    assert verdict == Failed(Reason.SUPERSEDED, "The change was undone: its annotation is gone")


def test_another_size_than_the_one_we_wrote_supersedes_it(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey
) -> None:
    cluster.patch_workload(web, SLOW)
    before = cluster.get_workload(web)
    after = cluster.scale_workload(web, 4, action=ACTION)
    verdict = verified(
        cluster, web, expected(before, after, 4), lambda: kubectl("scale", "deployment/web", "--replicas=3")
    )
    assert verdict == Failed(Reason.SUPERSEDED, "Scaled to 3 replicas by somebody else, after we wrote 4")


def test_a_change_beside_ours_does_not_supersede_it(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey
) -> None:
    before = cluster.get_workload(web)
    after = cluster.restart_workload(web, ACTION, action=ACTION)
    cluster.wait_for_rollout(web, PATIENCE)
    assert kubectl("set", "image", "deployment/web", "app=example.test/app:2").code == 0
    done = cluster.wait_for_rollout(web, PATIENCE)
    assert done.generation > after.generation
    assert isinstance(judge(done, expected(before, after)), Complete)
    assert status(kubectl).said == 'deployment "web" successfully rolled out\n'


def test_a_deployment_that_is_deleted_while_we_verify_is_gone(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey
) -> None:
    before = cluster.get_workload(web)
    after = cluster.patch_workload(web, SLOW, action=ACTION)
    verdict = verified(cluster, web, expected(before, after), lambda: kubectl("delete", "deployment", "web"))
    assert verdict == Failed(Reason.TARGET_GONE, "The Deployment was deleted")
    with pytest.raises(NotFound):
        cluster.get_workload(web)
    assert "NotFound" in status(kubectl).said


def test_a_deployment_of_the_same_name_is_not_the_one_we_changed(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    before = cluster.get_workload(web)
    after = cluster.restart_workload(web, ACTION, action=ACTION)
    assert kubectl("delete", "deployment", "web", "--cascade=orphan").code == 0
    manifest = deployment(replicas=2)
    manifest["metadata"]["annotations"] = {"smartops.io/action": ACTION}  # whoever recreates it may copy everything
    http.create("deployments", manifest)
    http.rolled_out("web")
    found = cluster.get_workload(web)
    verdict = judge(found, expected(before, after))
    assert isinstance(verdict, Failed)
    assert verdict.reason is Reason.TARGET_REPLACED
    assert status(kubectl).said == 'deployment "web" successfully rolled out\n'  # kubectl only knows names
    with pytest.raises(Conflict):
        cluster.scale_workload(web, 3, preconditions=Preconditions(after.uid, found.resource_version))
    assert columns(kubectl)[0] == "2/2"


def test_a_deployment_that_waits_for_its_finalizers_is_gone_to_us(
    cluster: KubernetesCluster, kubectl: Kubectl, web: WorkloadKey, http: Client
) -> None:
    http.patch("deployments/web", {"metadata": {"finalizers": ["example.test/wait"]}})
    before = cluster.get_workload(web)
    after = cluster.restart_workload(web, ACTION, action=ACTION)
    cluster.wait_for_rollout(web, PATIENCE)
    assert kubectl("delete", "deployment", "web", "--wait=false").code == 0
    deleting = cluster.get_workload(web)
    assert (deleting.deleting, deleting.generation) == (True, after.generation + 1)
    assert judge(deleting, expected(before, after)) == Failed(Reason.TARGET_GONE, "The Deployment was deleted")

    # The controller reports, but does not act on it any more.
    scaled = cluster.scale_workload(web, 3)
    http.wait("deployments", lambda found: is_observed(found, scaled))
    assert columns(kubectl) == ["2/3", "2", "2"]
    assert len(cluster.list_pods(web.namespace)) == 2

    http.patch("deployments/web", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        cluster.get_workload(web)
