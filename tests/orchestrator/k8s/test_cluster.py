"""The client and its watch where something goes wrong: on the sandbox, with its faults."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from time import monotonic

import pytest
import yaml
from prometheus_client import REGISTRY

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Refused, Throttled, TimedOut, Unknown
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.types import ACTION_ANNOTATION, WatchEvent, WatchEventType, WorkloadKey, WorkloadObject
from signals.types import Kind
from smartops.dev.sandbox import Sandbox
from smartops.dev.sandbox.cluster import Cluster
from smartops.dev.sandbox.faults import CompactHistory, CutWatch, LoseAnswer, MuteWatch, Refuse
from smartops.dev.sandbox.resources import DEPLOYMENT
from tests.kit.patience import PATIENCE, eventually

NAMESPACE = "smartops-dev"
ERP = WorkloadKey(NAMESPACE, "erp-simulator")


def manifest(name: str, *, replicas: int = 2) -> dict[str, object]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"sim/ready-after": "50ms"},
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
    cluster = KubernetesCluster(sandbox.kubeconfig, timeout=3 * PATIENCE, idle=0.5)
    cluster.wait_for_rollout(ERP, PATIENCE)
    return cluster


def load(sandbox: Sandbox, tmp_path: Path, *manifests: dict[str, object]) -> None:
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump_all(manifests))
    sandbox.load(path)


def writes(sandbox: Sandbox) -> int:
    return sum(request.method in ("PATCH", "DELETE") for request in sandbox.requests)


def test_a_throttled_write_is_refused_and_not_repeated(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    sandbox.fault(Refuse(method="PATCH", status=429, retry_after=3))
    before = writes(sandbox)
    with pytest.raises(Throttled) as caught:
        cluster.scale_workload(ERP, 4)
    assert caught.value.retry_after == 3.0
    assert writes(sandbox) == before + 1


@pytest.mark.parametrize("hang", [False, True])
def test_an_applied_write_whose_answer_is_lost_is_unknown(sandbox: Sandbox, hang: bool) -> None:
    patient = KubernetesCluster(sandbox.kubeconfig, timeout=PATIENCE)
    cluster = KubernetesCluster(sandbox.kubeconfig, timeout=0.5) if hang else patient
    sandbox.fault(LoseAnswer(method="PATCH", hang=hang))
    with pytest.raises(TimedOut if hang else Unknown):
        cluster.scale_workload(ERP, 4, action="action-1")
    eventually(lambda: writes(sandbox) > 0)  # the sandbox may read it after we have given it up
    after = patient.get_workload(ERP)
    assert writes(sandbox) == 1
    assert (after.replicas, after.annotations[ACTION_ANNOTATION]) == (4, "action-1")


def test_connections_are_kept_open(sandbox: Sandbox) -> None:
    cluster = KubernetesCluster(sandbox.kubeconfig)
    for _ in range(5):
        cluster.get_workload(ERP)
    assert cluster._connection._pool.num_connections == 1


class Watch:
    """What a watch has brought so far, collected in a thread as a reconciler would."""

    def __init__(self, cluster: KubernetesCluster, namespace: str = NAMESPACE) -> None:
        self.stop = Interruption()
        self._events: Queue[WatchEvent[WorkloadObject]] = Queue()
        watching = cluster.watch_workloads(Kind.DEPLOYMENT, namespace, self.stop)
        self._thread = Thread(target=self._follow, args=[watching])
        self._thread.start()

    def _follow(self, events: Iterator[WatchEvent[WorkloadObject]]) -> None:
        for event in events:
            self._events.put(event)

    def until(self, wanted: Callable[[WatchEvent[WorkloadObject]], bool]) -> list[WatchEvent[WorkloadObject]]:
        """The events up to and with the wanted one."""
        seen: list[WatchEvent[WorkloadObject]] = []
        deadline = monotonic() + PATIENCE
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


def has_synced(event: WatchEvent[WorkloadObject]) -> bool:
    return event.type is WatchEventType.SYNCED


def scaled_to(replicas: int) -> Callable[[WatchEvent[WorkloadObject]], bool]:
    return lambda event: event.object is not None and event.object.replicas == replicas


def deleted(name: str) -> Callable[[WatchEvent[WorkloadObject]], bool]:
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
        [first, second] = watch.until(has_synced)
        assert first == WatchEvent(WatchEventType.CHANGED, cluster.get_workload(ERP))
        assert second == WatchEvent(WatchEventType.SYNCED)
        cluster.scale_workload(ERP, 3)
        watch.until(lambda event: event.object is not None and event.object.available_replicas == 3)


def test_a_cut_watch_goes_on_without_a_new_list(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(has_synced)
        before = listings(sandbox)
        sandbox.fault(CutWatch())
        cluster.scale_workload(ERP, 3)
        assert not any(map(has_synced, watch.until(scaled_to(3))))
        assert listings(sandbox) == before


def test_a_half_open_watch_is_noticed(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(has_synced)
        sandbox.fault(MuteWatch())
        cluster.scale_workload(ERP, 3)
        watch.until(scaled_to(3))  # long before the timeout of a call


def test_after_a_410_what_vanished_is_reported(cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path) -> None:
    load(sandbox, tmp_path, manifest("payments"))
    with watching(cluster) as watch:
        watch.until(has_synced)
        sandbox.fault(MuteWatch())
        delete(sandbox, "payments")
        sandbox.fault(CompactHistory())
        watch.until(deleted("payments"))
        watch.until(has_synced)


def test_a_failing_server_is_asked_until_it_answers(cluster: KubernetesCluster, sandbox: Sandbox) -> None:
    with watching(cluster) as watch:
        watch.until(has_synced)
        sandbox.fault(Refuse(status=503, count=3))
        sandbox.fault(CutWatch())
        watch.until(has_synced)


@pytest.mark.parametrize("muted", [False, True])
def test_a_watch_stops_promptly(sandbox: Sandbox, muted: bool) -> None:
    watch = Watch(KubernetesCluster(sandbox.kubeconfig, idle=PATIENCE))
    watch.until(has_synced)
    if muted:
        sandbox.fault(MuteWatch())
    assert watch.end() < PATIENCE / 2


def test_a_watch_that_is_no_longer_wanted_leaves_nothing_behind(cluster: KubernetesCluster) -> None:
    stop = Interruption()
    with closing(cluster.watch_workloads(Kind.DEPLOYMENT, NAMESPACE, stop)) as events:
        assert any(map(has_synced, events))
        cluster.scale_workload(ERP, 3)
        next(events)
        assert len(stop.interrupts) == 1
    assert not stop.interrupts


def test_the_namespace_of_a_watch_must_be_a_name(cluster: KubernetesCluster) -> None:
    with pytest.raises(Refused):
        next(cluster.watch_workloads(Kind.DEPLOYMENT, "../..", Interruption()))


def test_watched_replicas_are_gauges_until_the_deployment_is_gone(
    cluster: KubernetesCluster, sandbox: Sandbox, tmp_path: Path
) -> None:
    def gauges() -> tuple[float | None, float | None]:
        labels = {"namespace": NAMESPACE, "deployment": "gauged", "kind": "Deployment"}
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
