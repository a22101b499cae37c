"""A reconciler on one thread: the test moves its clock, runs its passes, and makes its calls to the network.

The database is real. The cluster is a dictionary; a test says which of its answers fail, and when the cache sees it.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Event
from typing import Any, cast

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import Conflict, NotFound
from orchestrator.k8s.events import KubernetesEvent
from orchestrator.k8s.types import (
    ACTION_ANNOTATION,
    Preconditions,
    WatchEvent,
    WatchEventType,
    WorkloadKey,
    WorkloadObject,
)
from orchestrator.reconciler.loop import Reconciler
from orchestrator.reconciler.pool import Call, Failed, answer
from signals.types import Kind, Target
from tests.kit.deployments import document
from tests.kit.signals import NAMESPACE


class SimulatedClock:
    """Stands still until `advance`. Its jitter is 1: a delay is exactly the backoff."""

    def __init__(self) -> None:
        self._now = 1000.0

    def monotonic(self) -> float:
        return self._now

    def jitter(self) -> float:
        return 1.0

    def advance(self, seconds: float) -> None:
        self._now += seconds


class InlinePool:
    """Makes the calls, in their order, when the answers are collected. While it is `held`, they are under way."""

    def __init__(self) -> None:
        self.held = False
        self.closed = False
        self._calls: deque[tuple[Call, Failed]] = deque()

    @property
    def under_way(self) -> int:
        return len(self._calls)

    @under_way.setter
    def under_way(self, _: int) -> None:
        raise AttributeError("it counts for itself")

    def start(self) -> None:
        """There are no threads."""

    def submit(self, call: Call, failed: Failed = str, *, reserved: bool = False) -> None:
        self._calls.append((call, failed))

    def answers(self) -> Iterator[Any]:
        for _ in range(0 if self.held else len(self._calls)):
            yield answer(*self._calls.popleft())

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True, slots=True)
class Lost:
    """The write is applied, and its answer is this error."""

    error: Exception


@dataclass(slots=True)
class SimulatedCluster:
    """`calls` are the requests in order. The next writes and reads fail with what `writes` and `reads` hold; None is a
    write or read that does not."""

    calls: list[str] = field(default_factory=list)
    writes: deque[Exception | Lost | None] = field(default_factory=deque)
    reads: deque[Exception | None] = field(default_factory=deque)
    deployments: dict[WorkloadKey, WorkloadObject] = field(default_factory=dict)
    _listed: dict[WorkloadKey, WorkloadObject] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        return cast(Cluster, self)

    def deploy(self, name: str, replicas: int = 2, **fields: Any) -> WorkloadKey:
        """A Deployment in NAMESPACE whose rollout is complete."""
        key = WorkloadKey(NAMESPACE, name)
        self.deployments[key] = WorkloadObject(
            key=key,
            **{"uid": f"uid of {name}", "resource_version": "1", "generation": 1, "replicas": replicas, **fields},
            paused=False,
            deleting=False,
            annotations={},
            document=document(replicas),
        )
        self.roll_out(key)
        return key

    def roll_out(self, key: WorkloadKey) -> None:
        """All pods are as the spec wants them."""
        found = self.deployments[key]
        self.change(
            key,
            observed_generation=found.generation,
            status_replicas=found.replicas,
            updated_replicas=found.replicas,
            ready_replicas=found.replicas,
            available_replicas=found.replicas,
        )

    def change(self, key: WorkloadKey, **fields: Any) -> WorkloadObject:
        """By somebody, as a new version."""
        found = self.deployments[key]
        version = str(int(found.resource_version) + 1)
        described = {"document": document(fields["replicas"])} if "replicas" in fields else {}
        self.deployments[key] = replace(found, **{"resource_version": version, **described, **fields})
        return self.deployments[key]

    def get_service_selector(self, namespace: str, name: str) -> str:
        raise NotFound(f"Service {namespace}/{name} not found", code=404)

    def get_workload(self, key: WorkloadKey) -> WorkloadObject:
        self.calls.append(f"read {key.name}")
        if self.reads and (error := self.reads.popleft()):
            raise error
        if key not in self.deployments:
            raise NotFound(f'deployments.apps "{key.name}" not found')
        return self.deployments[key]

    def get_or_none(self, target: Target) -> WorkloadObject | None:
        """Without a request."""
        return self.deployments.get(WorkloadKey.of(target))

    def scale_workload(self, key: WorkloadKey, replicas: int, **options: Any) -> WorkloadObject:
        return self._write(key, f"scale {key.name} to {replicas}", {"replicas": replicas}, **options)

    def restart_workload(self, key: WorkloadKey, _value: str, **options: Any) -> WorkloadObject:
        return self._write(key, f"restart {key.name}", {}, **options)

    def patch_workload(self, key: WorkloadKey, _patch: Mapping[str, Any], **options: Any) -> WorkloadObject:
        return self._write(key, f"patch {key.name}", {}, **options)

    def watch_workloads(self, kind: Kind, _namespace: str, _stop: Event) -> Iterator[WatchEvent[WorkloadObject]]:
        """Ends where a real watch would wait."""
        gone = [one for key, one in self._listed.items() if key not in self.deployments and key.kind is kind]
        found = {key: one for key, one in self.deployments.items() if key.kind is kind}
        changed = [one for key, one in found.items() if self._listed.get(key) != one]
        self._listed = {key: one for key, one in self._listed.items() if key.kind is not kind} | found
        yield from (WatchEvent(WatchEventType.DELETED, one) for one in gone)
        yield from (WatchEvent(WatchEventType.CHANGED, one) for one in changed)
        yield WatchEvent(WatchEventType.SYNCED)

    def watch_autoscalers(self, _namespace: str, _stop: Event) -> Iterator[WatchEvent[Any]]:
        yield WatchEvent(WatchEventType.SYNCED)

    def create_event(self, _event: KubernetesEvent, _at: datetime) -> None:
        """Of the publisher, whose thread may run in the time of a test."""

    def _write(
        self,
        key: WorkloadKey,
        request: str,
        fields: dict[str, Any],
        *,
        preconditions: Preconditions,
        action: str,
        dry_run: bool,
    ) -> WorkloadObject:
        self.calls.append(f"{request} at {preconditions.resource_version}")
        fault = self.writes.popleft() if self.writes else None
        if isinstance(fault, Exception):
            raise fault
        found = self.deployments.get(key)
        if found is None:
            raise NotFound(f'deployments.apps "{key.name}" not found')
        if (found.uid, found.resource_version) != (preconditions.uid, preconditions.resource_version):
            raise Conflict("the object has been modified")
        if dry_run:
            described = {"document": document(fields["replicas"])} if "replicas" in fields else {}
            found = replace(found, **{**described, **fields})
        else:
            annotations = {ACTION_ANNOTATION: action}
            found = self.change(key, generation=found.generation + 1, annotations=annotations, **fields)
        if isinstance(fault, Lost):
            raise fault.error
        return found


class Simulation:
    """A reconciler for NAMESPACE. A second one on the same cluster is another process."""

    def __init__(self, cluster: SimulatedCluster | None = None, workers: int = 16) -> None:
        self.clock, self.pool, self.cluster = SimulatedClock(), InlinePool(), cluster or SimulatedCluster()
        self.reconciler = Reconciler(
            self.cluster.cluster, "default", [NAMESPACE], workers, clock=self.clock, pool=self.pool
        )

    @property
    def calls(self) -> list[str]:
        return self.cluster.calls

    def observe(self) -> None:
        """The cache comes to have what the cluster has."""
        self.cluster._listed = dict(self.reconciler.cache._workloads)
        for kind in Kind:
            self.reconciler.cache._follow_workloads(kind, NAMESPACE)
        self.reconciler.cache._follow_autoscalers(NAMESPACE)

    def run(self, passes: int = 1, *notified: str) -> None:
        for _ in range(passes):
            self.reconciler.run_once(notified)

    def sweep(self) -> None:
        """One pass, at a time when everything is due to be read again."""
        self.clock.advance(1.0)
        self.run()
