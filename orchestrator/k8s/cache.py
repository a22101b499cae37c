"""The cluster as this process sees it: two watches per namespace, shared by all decisions and verifications."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Lock, Thread

from guardrails.types import AutoscalerFacts
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import NotFound
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.k8s.types import Autoscaler, Deployment, WatchEventType, WorkloadKey
from signals.types import Target

log = logging.getLogger(__name__)


class ClusterCache:
    """`on_change` is called from the watching threads after each change, and must be quick."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], on_change: Callable[[WorkloadKey], None]) -> None:
        self.namespaces = frozenset(namespaces)
        self._cluster = cluster
        self._on_change = on_change
        self._deployments: dict[WorkloadKey, Deployment] = {}
        self._scaled = AutoscalerIndex()
        self._follows = {"Deployments": self._follow_deployments, "autoscalers": self._follow_autoscalers}
        self._unsynced = {(what, namespace) for what in self._follows for namespace in self.namespaces}
        self._refusals: dict[str, str] = {}  # namespace: why its autoscalers are not to be seen
        self._lock = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        for what, namespace in sorted(self._unsynced):
            thread = Thread(target=self._follows[what], args=[namespace], name=f"{what} of {namespace}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def has_synced(self) -> bool:
        """Every namespace has been listed once. Before that nothing is known, and nothing may be decided. Where we may
        not see the autoscalers, we know at least that."""
        return not self._unsynced

    def unsynced(self) -> list[str]:
        """What has not been listed yet, as "horizontalpodautoscalers in namespace shop"."""
        resources = {"Deployments": "deployments", "autoscalers": "horizontalpodautoscalers"}
        with self._lock:
            waiting = sorted(self._unsynced)
        return [
            f"{resources[what]} in {'all namespaces' if namespace == '*' else f'namespace {namespace}'}"
            for what, namespace in waiting
        ]

    def manages(self, namespace: str) -> bool:
        return "*" in self.namespaces or namespace in self.namespaces

    def get(self, key: WorkloadKey) -> Deployment | None:
        return self._deployments.get(key)

    def observe(self, target: Target) -> TargetState:
        if not self.manages(target.namespace):
            return UNMANAGED
        key = WorkloadKey(target.namespace, target.name)
        unknown = self._refusals.get("*" if "*" in self.namespaces else target.namespace, "")
        return TargetState(True, True, self.get(key), self._scaled.by(key), unknown)

    def observe_live(self, target: Target) -> TargetState:
        """Before a target is called missing, the API server itself is asked: the view may lag behind."""
        look = self.observe(target)
        if look.managed and look.deployment is None:
            with suppress(NotFound):
                key = WorkloadKey(target.namespace, target.name)
                return replace(look, deployment=self._cluster.get_deployment_status(key))
        return look

    def _follow_deployments(self, namespace: str) -> None:
        for event in self._cluster.watch_deployments(_scope(namespace), self._stop):
            if event.type is WatchEventType.SYNCED:
                self._answered("Deployments", namespace)
            elif event.object is not None:
                key = event.object.key
                if event.type is WatchEventType.DELETED:
                    self._deployments.pop(key, None)
                else:
                    self._deployments[key] = event.object
                self._on_change(key)

    def _follow_autoscalers(self, namespace: str) -> None:
        for event in self._cluster.watch_autoscalers(_scope(namespace), self._stop):
            if event.type is WatchEventType.REFUSED:
                self._refusals[namespace] = event.message
                self._answered("autoscalers", namespace)
            elif event.type is WatchEventType.SYNCED:
                self._refusals.pop(namespace, None)
                self._answered("autoscalers", namespace)
            elif event.object is not None:
                self._scaled.see(event.object, gone=event.type is WatchEventType.DELETED)

    def _answered(self, what: str, namespace: str) -> None:
        with self._lock:
            first = (what, namespace) in self._unsynced
            self._unsynced.discard((what, namespace))
        if first:
            log.info("the %s of %s are known", what, "all namespaces" if namespace == "*" else namespace)
        self._on_change(WorkloadKey(namespace, ""))


class AutoscalerIndex:
    """Which workload is scaled by which autoscalers."""

    def __init__(self) -> None:
        self._by_workload: dict[WorkloadKey, dict[WorkloadKey, Autoscaler]] = {}
        self._targets: dict[WorkloadKey, WorkloadKey] = {}
        self._lock = Lock()  # of the watching threads

    def see(self, one: Autoscaler, *, gone: bool) -> None:
        """Readers take no lock: each value is replaced whole, and what is known stays known while it is replaced."""
        now = None if gone else one.target
        with self._lock:
            before = self._targets.pop(one.key, None)
            if now is not None:
                self._targets[one.key] = now
                self._by_workload[now] = {**self._by_workload.get(now, {}), one.key: one}
            if before is not None and before != now:
                others = {key: other for key, other in self._by_workload[before].items() if key != one.key}
                if others:
                    self._by_workload[before] = others
                else:
                    del self._by_workload[before]

    def by(self, workload: WorkloadKey) -> AutoscalerFacts | None:
        """The first by name where there are several, which fight each other as it is."""
        if not (found := self._by_workload.get(workload)):
            return None
        one = found[min(found)]
        return AutoscalerFacts(one.key.name, one.min_replicas, one.max_replicas)


def _scope(namespace: str) -> str:
    return "" if namespace == "*" else namespace
