"""The cluster as this process sees it: one watch per namespace, shared by all decisions and verifications."""

import logging
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread

from orchestrator.facts import UNMANAGED, Look
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import Deployment, WatchEventType, WorkloadKey
from signals.types import Target

log = logging.getLogger(__name__)


class View:
    """`on_change` is called from the watching threads after each change, and must be quick."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str], on_change: Callable[[WorkloadKey], None]) -> None:
        self.namespaces = frozenset(namespaces)
        self._cluster = cluster
        self._on_change = on_change
        self._deployments: dict[WorkloadKey, Deployment] = {}
        self._unsynced = set(self.namespaces)
        self._lock = Lock()
        self._stop = Event()
        self._threads: list[Thread] = []

    def start(self) -> None:
        for namespace in sorted(self.namespaces):
            thread = Thread(target=self._follow, args=[namespace], name=f"watch {namespace}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def synced(self) -> bool:
        """Every namespace has been listed once. Before that nothing is known, and nothing may be decided."""
        return not self._unsynced

    def manages(self, namespace: str) -> bool:
        return "*" in self.namespaces or namespace in self.namespaces

    def get(self, key: WorkloadKey) -> Deployment | None:
        return self._deployments.get(key)

    def look_at(self, target: Target) -> Look:
        if not self.manages(target.namespace):
            return UNMANAGED
        return Look.at(self.get(WorkloadKey(target.namespace, target.name)))

    def _follow(self, namespace: str) -> None:
        for event in self._cluster.watch_deployments("" if namespace == "*" else namespace, self._stop):
            if event.type is WatchEventType.SYNCED:
                if namespace in self._unsynced:
                    log.info("watching %s: %d Deployments", namespace, len(self._deployments))
                with self._lock:
                    self._unsynced.discard(namespace)
                self._on_change(WorkloadKey(namespace, ""))
                continue
            assert event.object is not None
            key = event.object.key
            if event.type is WatchEventType.DELETED:
                self._deployments.pop(key, None)
            else:
                self._deployments[key] = event.object
            self._on_change(key)
