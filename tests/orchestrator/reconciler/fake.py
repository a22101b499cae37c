"""A Cluster of which a test says what it answers."""

from collections.abc import Callable, Iterator
from datetime import datetime
from queue import Queue
from threading import Event
from typing import Any, cast

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.events import KubernetesEvent
from orchestrator.k8s.types import WatchEvent
from signals.types import Kind

END = object()


class Fake:
    """Answers only what the reconciler's own threads ask. A watch brings what is put into its queue, until END."""

    def __init__(self) -> None:
        self.workloads: dict[Kind, dict[str, Queue[Any]]] = {kind: {} for kind in Kind}
        self.autoscalers: dict[str, Queue[Any]] = {}
        self.rights: Callable[[str, str, str, str], bool] = lambda *_: True
        self.events: Callable[[KubernetesEvent, datetime], None] = lambda *_: None

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)

    @property
    def deployments(self) -> dict[str, Queue[Any]]:
        return self.workloads[Kind.DEPLOYMENT]

    def watch_workloads(self, kind: Kind, namespace: str, _: Event) -> Iterator[WatchEvent[Any]]:
        return iter(self.workloads[kind].setdefault(namespace, Queue()).get, END)

    def watch_autoscalers(self, namespace: str, _: Event) -> Iterator[WatchEvent[Any]]:
        return iter(self.autoscalers.setdefault(namespace, Queue()).get, END)

    def can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return self.rights(verb, group, resource, namespace)

    def create_event(self, note: KubernetesEvent, at: datetime) -> None:
        self.events(note, at)
