"""The eight operations and the watch, against the sandbox cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from time import monotonic

import pytest
import yaml
from prometheus_client import REGISTRY

from guardrails.reasons import Reason
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, Invalid, NotFound, Refused, Throttled, TimedOut, Unknown
from orchestrator.k8s.types import ACTION_ANNOTATION, Deployment, Preconditions, WatchEvent, WatchEventType, WorkloadKey
from orchestrator.verification.judge import Complete, Expected, Failed, judge, rollout
from smartops.sandbox import Sandbox
from smartops.sandbox.cluster import Cluster
from smartops.sandbox.faults import CompactHistory, CutWatch, LoseAnswer, MuteWatch, Refuse
from smartops.sandbox.resources import DEPLOYMENT

NAMESPACE = "smartops-dev"
ERP = WorkloadKey(NAMESPACE, "erp-simulator")
SOON = 20.0  # seconds: nothing here takes nearly as long


def manifest(name: str, *, replicas: int = 2, **behaviour: str) -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"sim/ready-after": "50ms"}
                    | {f"sim/{key.replace('_', '-')}": value for key, value in behaviour.items()},
                },
                "spec": {"containers": [{"name": name, "image": f"{name}:1"}]},
            },
        },
    }


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(bookmark_every=0.1) as sandbox:
        path = tmp_path / "erp.yaml"
        path.write_text(yaml.safe_dump(manifest("erp-simulator")))
        sandbox.load(path)
        yield sandbox


@pytest.fixture
def cluster(sandbox: Sandbox) -> KubernetesCluster:
    cluster = KubernetesCluster(sandbox.kubeconfig, timeout=5, idle=0.5)
    cluster.wait_for_deployment_rollout(ERP, SOON)
    return cluster


def load(sandbox: Sandbox, tmp_path: Path, *manifests: dict[str, object]) -> None:
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    sandbox.load(path)


def preconditions(deployment: Deployment) -> Preconditions:
    return Preconditions(deployment.uid, deployment.resource_version)


def writes(sandbox: Sandbox) -> int:
    return sum(request.method in ("PATCH", "DELETE") for request in sandbox.requests)


def test_a_scaled_deployment_carries_the_action_and_rolls_out(cluster: KubernetesCluster) -> None:
    before = cluster.get_deployment_status(ERP)
    after = cluster.scale_deployment(ERP, 4, preconditions=preconditions(before), action="action-1")
    assert (after.uid, after.replicas, after.generation) == (before.uid, 4, before.generation + 1)
    assert after.annotations[ACTION_ANNOTATION] == "action-1"

    expected = Expected(after.uid, after.generation, "action-1", replicas=4, baseline=before.replicas)
    settled = cluster.wait_for_deployment_rollout(ERP, SOON)
    assert judge(settled, expected) == Complete("All 4 replicas are updated and available")
    assert settled.ready_replicas == 4


def test_a_restart_replaces_every_pod_and_its_repetition_none(cluster: KubernetesCluster) -> None:
    old = {pod.uid for pod in cluster.list_pods(NAMESPACE)}
    cluster.restart_deployment(ERP, "action-1", action="action-1")
    settled = cluster.wait_for_deployment_rollout(ERP, SOON)
    assert old.isdisjoint(pod.uid for pod in cluster.list_pods(NAMESPACE))

    again = cluster.restart_deployment(ERP, "action-1", action="action-1")
    assert again.generation == settled.generation


def test_a_patch_changes_what_it_names_and_nothing_else(cluster: KubernetesCluster) -> None:
    patch = {"spec": {"paused": True}, "metadata": {"annotations": {"team": "erp"}}}
    after = cluster.patch_deployment(ERP, patch, action="action-1")
    assert (after.paused, after.replicas) == (True, 2)
    assert after.annotations.items() >= {"team": "erp", ACTION_ANNOTATION: "action-1"}.items()


def test_pods_are_selected_by_label_and_deleted_by_uid(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    load(sandbox, tmp_path, manifest("payments", replicas=1))
    assert cluster.list_pods(NAMESPACE, "app=nobody") == []
    pods = cluster.list_pods(NAMESPACE, "app=erp-simulator")
    assert len(pods) == 2
    assert all(pod.ready and pod.phase == "Running" for pod in pods)

    with pytest.raises(Conflict):
        cluster.delete_pod(NAMESPACE, pods[0].name, uid=pods[1].uid)
    cluster.delete_pod(NAMESPACE, pods[0].name, uid=pods[0].uid)
    assert pods[0].uid not in {pod.uid for pod in cluster.list_pods(NAMESPACE)}


def test_deployments_are_listed_in_one_namespace_or_in_all(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    elsewhere = manifest("payments")
    elsewhere["metadata"] = {"name": "payments", "namespace": "other"}
    load(sandbox, tmp_path, elsewhere)
    assert [each.key for each in cluster.list_deployments(NAMESPACE)] == [ERP]
    assert {each.key for each in cluster.list_deployments("")} == {ERP, WorkloadKey("other", "payments")}


def test_long_lists_come_in_pages(
    cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setattr("orchestrator.k8s.connection.PAGE_SIZE", 1)
    before = len(sandbox.requests)
    assert len(cluster.list_pods(NAMESPACE)) == 2
    assert len(sandbox.requests) - before == 2


def test_a_stale_resource_version_is_a_conflict(cluster: KubernetesCluster) -> None:
    seen = cluster.get_deployment_status(ERP)
    cluster.scale_deployment(ERP, 3)
    with pytest.raises(Conflict):
        cluster.scale_deployment(ERP, 4, preconditions=preconditions(seen), action="late")
    after = cluster.get_deployment_status(ERP)
    assert (after.replicas, ACTION_ANNOTATION in after.annotations) == (3, False)


def test_another_uid_is_a_conflict(cluster: KubernetesCluster) -> None:
    current = preconditions(cluster.get_deployment_status(ERP))
    with pytest.raises(Conflict):
        cluster.scale_deployment(ERP, 4, preconditions=replace(current, uid="00000000-0000-0000-0000-000000000000"))
    assert cluster.get_deployment_status(ERP).replicas == 2


def test_of_many_writers_with_the_same_preconditions_one_wins(cluster: KubernetesCluster) -> None:
    current = preconditions(cluster.get_deployment_status(ERP))

    def scale(replicas: int) -> str:
        try:
            cluster.scale_deployment(ERP, replicas, preconditions=current, action=f"action-{replicas}")
        except Conflict:
            return "conflict"
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(scale, range(3, 11)))
    assert sorted(outcomes) == ["conflict"] * 7 + ["won"]


def test_a_dry_run_shows_the_change_and_makes_none(cluster: KubernetesCluster) -> None:
    before = cluster.get_deployment_status(ERP)
    shown = cluster.scale_deployment(ERP, 5, preconditions=preconditions(before), action="dry", dry_run=True)
    assert (shown.replicas, shown.annotations[ACTION_ANNOTATION]) == (5, "dry")
    assert cluster.get_deployment_status(ERP).resource_version == before.resource_version
    with pytest.raises(Invalid):
        cluster.scale_deployment(ERP, -1, dry_run=True)


def test_what_does_not_exist_is_not_found(cluster: KubernetesCluster) -> None:
    nobody = WorkloadKey(NAMESPACE, "nobody")
    for call in (
        lambda: cluster.get_deployment_status(nobody),
        lambda: cluster.scale_deployment(nobody, 1),
        lambda: cluster.delete_pod(NAMESPACE, "nobody", uid="uid-1"),
        lambda: cluster.wait_for_deployment_rollout(nobody, SOON),
    ):
        with pytest.raises(NotFound, match="nobody"):
            call()


def test_a_throttled_write_is_refused_and_not_repeated(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    sandbox.fault(Refuse(method="PATCH", status=429, retry_after=3))
    before = writes(sandbox)
    with pytest.raises(Throttled) as caught:
        cluster.scale_deployment(ERP, 4)
    assert caught.value.retry_after == 3.0
    assert writes(sandbox) == before + 1


@pytest.mark.parametrize("hang", [False, True])
def test_an_applied_write_whose_answer_is_lost_is_unknown(sandbox: Sandbox, hang: bool) -> None:
    cluster = KubernetesCluster(sandbox.kubeconfig, timeout=0.5)
    sandbox.fault(LoseAnswer(method="PATCH", hang=hang))
    with pytest.raises(TimedOut if hang else Unknown):
        cluster.scale_deployment(ERP, 4, action="action-1")
    assert writes(sandbox) == 1
    after = cluster.get_deployment_status(ERP)
    assert (after.replicas, after.annotations[ACTION_ANNOTATION]) == (4, "action-1")


def test_a_stuck_rollout_ends_at_its_progress_deadline(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    load(sandbox, tmp_path, manifest("stuck", outcome="stuck"))
    verdict = rollout(cluster.wait_for_deployment_rollout(WorkloadKey(NAMESPACE, "stuck"), SOON))
    assert isinstance(verdict, Failed)
    assert verdict.reason is Reason.PROGRESS_DEADLINE_EXCEEDED
    assert {pod.waiting_reason for pod in cluster.list_pods(NAMESPACE, "app=stuck")} == {"ImagePullBackOff"}


def test_waiting_for_a_rollout_ends_at_the_timeout(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    load(sandbox, tmp_path, manifest("slow", ready_after="1h"))
    cluster.patch_deployment(WorkloadKey(NAMESPACE, "slow"), {"spec": {"progressDeadlineSeconds": 3600}})
    started = monotonic()
    with pytest.raises(TimedOut, match="0 of 2 updated replicas are available"):
        cluster.wait_for_deployment_rollout(WorkloadKey(NAMESPACE, "slow"), 0.5)
    assert monotonic() - started < 5


def test_waiting_for_a_rollout_ends_with_the_deployment(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    load(sandbox, tmp_path, manifest("slow", ready_after="1h"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cluster.wait_for_deployment_rollout, WorkloadKey(NAMESPACE, "slow"), SOON)
        delete(sandbox, "slow")
        with pytest.raises(NotFound):
            waiting.result()


def test_connections_are_kept_open(sandbox: Sandbox) -> None:
    cluster = KubernetesCluster(sandbox.kubeconfig)
    for _ in range(5):
        cluster.get_deployment_status(ERP)
    pools = cluster._connection.apps.api_client.rest_client.pool_manager
    assert pools.connection_from_url(sandbox.url).num_connections == 1


class Watch:
    """What a watch has brought so far, collected in a thread as a reconciler would."""

    def __init__(self, cluster: KubernetesCluster, namespace: str = NAMESPACE) -> None:
        self.stop = Event()
        self._events: Queue[WatchEvent[Deployment]] = Queue()
        self._thread = Thread(target=self._follow, args=[cluster.watch_deployments(namespace, self.stop)])
        self._thread.start()

    def _follow(self, events: Iterator[WatchEvent[Deployment]]) -> None:
        for event in events:
            self._events.put(event)

    def until(self, wanted: Callable[[WatchEvent[Deployment]], bool]) -> list[WatchEvent[Deployment]]:
        """The events up to and with the wanted one."""
        seen: list[WatchEvent[Deployment]] = []
        deadline = monotonic() + SOON
        while not seen or not wanted(seen[-1]):
            try:
                seen.append(self._events.get(timeout=deadline - monotonic()))
            except (Empty, ValueError):
                raise AssertionError(f"not seen among {seen}") from None
        return seen

    def end(self) -> float:
        """Seconds until the watch was over."""
        started = monotonic()
        self.stop.set()
        self._thread.join()
        return monotonic() - started


@contextmanager
def watching(cluster: KubernetesCluster, namespace: str = NAMESPACE) -> Iterator[Watch]:
    watch = Watch(cluster, namespace)
    try:
        yield watch
    finally:
        watch.end()


def synced(event: WatchEvent[Deployment]) -> bool:
    return event.type is WatchEventType.SYNCED


def scaled_to(replicas: int) -> Callable[[WatchEvent[Deployment]], bool]:
    return lambda event: event.object is not None and event.object.replicas == replicas


def deleted(name: str) -> Callable[[WatchEvent[Deployment]], bool]:
    return lambda event: (
        event.type is WatchEventType.DELETED and event.object is not None and event.object.key.name == name
    )


def listings(sandbox: Sandbox) -> int:
    return sum(
        request.method == "GET" and "/deployments?" in request.path and "watch=" not in request.path
        for request in sandbox.requests
    )


def delete(sandbox: Sandbox, name: str) -> None:
    def work(cluster: Cluster) -> None:
        cluster.registry.delete(DEPLOYMENT, cluster.registry.get(DEPLOYMENT, NAMESPACE, name), {})

    sandbox.call(work)


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_a_watch_lists_syncs_and_follows(cluster: KubernetesCluster, namespace: str) -> None:
    with watching(cluster, namespace) as watch:
        [first, second] = watch.until(synced)
        assert first == WatchEvent(WatchEventType.CHANGED, cluster.get_deployment_status(ERP))
        assert second == WatchEvent(WatchEventType.SYNCED)
        cluster.scale_deployment(ERP, 3)
        watch.until(lambda event: event.object is not None and event.object.available_replicas == 3)


def test_a_cut_watch_goes_on_without_a_new_list(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(synced)
        before = listings(sandbox)
        sandbox.fault(CutWatch())
        cluster.scale_deployment(ERP, 3)
        assert not any(map(synced, watch.until(scaled_to(3))))
        assert listings(sandbox) == before


def test_a_half_open_watch_is_noticed(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(synced)
        sandbox.fault(MuteWatch())
        started = monotonic()
        cluster.scale_deployment(ERP, 3)
        watch.until(scaled_to(3))
        assert monotonic() - started < 4  # much less than the timeout of a call


def test_after_a_410_what_vanished_is_reported(cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path) -> None:
    load(sandbox, tmp_path, manifest("payments"))
    with watching(cluster) as watch:
        watch.until(synced)
        sandbox.fault(MuteWatch())
        delete(sandbox, "payments")
        sandbox.fault(CompactHistory())
        watch.until(deleted("payments"))
        watch.until(synced)


def test_a_failing_server_is_asked_until_it_answers(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(synced)
        sandbox.fault(Refuse(status=503, count=3))
        sandbox.fault(CutWatch())
        watch.until(synced)


@pytest.mark.parametrize("muted", [False, True])
def test_a_watch_stops_promptly(sandbox: Sandbox, muted: bool) -> None:
    watch = Watch(KubernetesCluster(sandbox.kubeconfig, idle=60))
    watch.until(synced)
    if muted:
        sandbox.fault(MuteWatch())
    assert watch.end() < 1


def test_a_watch_that_is_no_longer_wanted_leaves_nothing_behind(cluster: KubernetesCluster) -> None:
    def open_streams() -> int:
        return sum(thread.name == "watch-interrupt" for thread in enumerate_threads())

    with closing(cluster.watch_deployments(NAMESPACE, Event())) as events:
        assert any(map(synced, events))
        cluster.scale_deployment(ERP, 3)
        next(events)
        assert open_streams() == 1
    assert open_streams() == 0


def test_the_namespace_of_a_watch_must_be_a_name(cluster: KubernetesCluster) -> None:
    with pytest.raises(Refused):
        next(cluster.watch_deployments("../..", Event()))


def test_watched_replicas_are_gauges_until_the_deployment_is_gone(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    def gauges() -> tuple[float | None, float | None]:
        labels = {"namespace": NAMESPACE, "deployment": "gauged"}
        return (
            REGISTRY.get_sample_value("smartops_k8s_deployment_desired_replicas", labels),
            REGISTRY.get_sample_value("smartops_k8s_deployment_ready_replicas", labels),
        )

    load(sandbox, tmp_path, manifest("gauged", replicas=3))
    with watching(cluster) as watch:
        watch.until(lambda event: event.object is not None and event.object.ready_replicas == 3)
        assert gauges() == (3, 3)
        delete(sandbox, "gauged")
        watch.until(deleted("gauged"))
        assert gauges() == (None, None)
