"""The cluster cache: two watches per namespace, shared by all decisions and verifications of a process."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from threading import Event, Lock, Thread

from guardrails.types import AutoscalerFacts
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import NotFound
from orchestrator.k8s.resources import AUTOSCALERS, DEPLOYMENTS, Resource
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.k8s.types import Autoscaler, Deployment, WatchEventType, WorkloadKey
from signals.types import Target

log = logging.getLogger(__name__)


class ClusterCache:
    """Of `namespaces`, where "*" is all of them. `on_change` is called from the watching threads after each change, and
    must be quick; after a list its key has no name."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], on_change: Callable[[WorkloadKey], None]) -> None:
        self.namespaces = frozenset(namespaces)
        self._cluster = cluster
        self._on_change = on_change
        self._deployments: dict[WorkloadKey, Deployment] = {}
        self._autoscalers = AutoscalerIndex()
        self._follow = {DEPLOYMENTS: self._follow_deployments, AUTOSCALERS: self._follow_autoscalers}
        self._unsynced = {(resource, namespace) for resource in self._follow for namespace in self.namespaces}
        self._refusals: dict[str, str] = {}  # by namespace: why its autoscalers cannot be listed
        self._lock = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        for resource, follow in self._follow.items():
            for namespace in sorted(self.namespaces):
                name = f"watch {resource.name} in {namespace}"
                thread = Thread(target=follow, args=[namespace], name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def has_synced(self) -> bool:
        """Whether every namespace has been listed once: no decision may be made before. A refusal to list autoscalers
        counts as an answer."""
        return not self._unsynced

    def unsynced(self) -> list[str]:
        """What has not been listed yet, as "horizontalpodautoscalers in namespace shop"."""
        with self._lock:
            waiting = sorted((resource.name, namespace) for resource, namespace in self._unsynced)
        return [
            f"{name} in {'all namespaces' if namespace == '*' else f'namespace {namespace}'}"
            for name, namespace in waiting
        ]

    def manages(self, namespace: str) -> bool:
        return "*" in self.namespaces or namespace in self.namespaces

    def get(self, key: WorkloadKey) -> Deployment | None:
        return self._deployments.get(key)

    def observe(self, target: Target) -> TargetState:
        if not self.manages(target.namespace):
            return UNMANAGED
        key = WorkloadKey(target.namespace, target.name)
        refusal = self._refusals.get("*" if "*" in self.namespaces else target.namespace, "")
        return TargetState(True, True, self.get(key), self._autoscalers.of(key), refusal)

    def observe_live(self, target: Target) -> TargetState:
        """The same, with a live read of a Deployment that is not in the cache: the cache may lag behind. ClusterError
        if the read fails."""
        state = self.observe(target)
        if state.managed and state.deployment is None:
            with suppress(NotFound):
                key = WorkloadKey(target.namespace, target.name)
                return replace(state, deployment=self._cluster.get_deployment_status(key))
        return state

    def _follow_deployments(self, namespace: str) -> None:
        for event in self._cluster.watch_deployments(_scope(namespace), self._stop):
            if event.type is WatchEventType.SYNCED:
                self._mark_synced(DEPLOYMENTS, namespace)
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
                self._mark_synced(AUTOSCALERS, namespace)
            elif event.type is WatchEventType.SYNCED:
                self._refusals.pop(namespace, None)
                self._mark_synced(AUTOSCALERS, namespace)
            elif event.object is not None:
                self._autoscalers.update(event.object, deleted=event.type is WatchEventType.DELETED)

    def _mark_synced(self, resource: Resource, namespace: str) -> None:
        with self._lock:
            first = (resource, namespace) in self._unsynced
            self._unsynced.discard((resource, namespace))
        if first:
            where = "all namespaces" if namespace == "*" else f"namespace {namespace}"
            refusal = resource is AUTOSCALERS and self._refusals.get(namespace)
            if refusal:
                log.warning("Cannot list %s in %s: %s", resource.name, where, refusal)
            else:
                log.info("Cache synced: %s in %s", resource.name, where)
        self._on_change(WorkloadKey(namespace, ""))


class AutoscalerIndex:
    """The autoscalers by the workload that they scale."""

    def __init__(self) -> None:
        self._by_workload: dict[WorkloadKey, dict[WorkloadKey, Autoscaler]] = {}
        self._workloads: dict[WorkloadKey, WorkloadKey] = {}  # by autoscaler
        self._lock = Lock()  # between watching threads

    def update(self, autoscaler: Autoscaler, *, deleted: bool) -> None:
        """Readers take no lock: each value is replaced as a whole, and the old one is there until the new one is."""
        key, workload = autoscaler.key, None if deleted else autoscaler.target
        with self._lock:
            before = self._workloads.pop(key, None)
            if workload is not None:
                self._workloads[key] = workload
                self._by_workload[workload] = {**self._by_workload.get(workload, {}), key: autoscaler}
            if before is not None and before != workload:
                others = {other: one for other, one in self._by_workload[before].items() if other != key}
                if others:
                    self._by_workload[before] = others
                else:
                    del self._by_workload[before]

    def of(self, workload: WorkloadKey) -> AutoscalerFacts | None:
        """The first by name. Several autoscalers of one workload work against each other; each is a reason not to
        scale it."""
        if not (autoscalers := self._by_workload.get(workload)):
            return None
        first = autoscalers[min(autoscalers)]
        return AutoscalerFacts(first.key.name, first.min_replicas, first.max_replicas)


def _scope(namespace: str) -> str:
    return "" if namespace == "*" else namespace
