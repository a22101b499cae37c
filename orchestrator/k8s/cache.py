"""The cluster cache: the workloads and autoscalers of the namespaces, watched once for all decisions and verifications
of a process."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from threading import Lock, Thread
from time import monotonic
from typing import Any

from guardrails.types import AutoscalerFacts, RolloutState
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.errors import ClusterError, NotFound
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.missing import Missing
from orchestrator.k8s.resources import AUTOSCALERS, SCALED_KINDS, WORKLOADS, Resource
from orchestrator.k8s.revision import rollout_state
from orchestrator.k8s.sync import LEFT_TO_OTHERS, UNTIL_LISTED, Delays, MissingList, SyncStatus
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.k8s.types import (
    Autoscaler,
    ObjectKey,
    W,
    WatchEvent,
    WatchEventType,
    WorkloadKey,
    WorkloadObject,
)
from signals.types import Kind, Target

log = logging.getLogger(__name__)

# The kinds on which no decision is made without the list.
DEPENDENT: Mapping[Resource, Iterable[Kind]] = {
    **{resource: (kind,) for kind, resource in WORKLOADS.items()},
    AUTOSCALERS: SCALED_KINDS,
}
STOP_WITHIN = 5.0  # seconds
RESTART_AFTER = 30.0  # seconds from an unexpected error of a watching thread to its next attempt


class ClusterCache:
    """Of `namespaces`, where "*" is all of them. Each kind in each namespace syncs by itself: one that cannot be read
    holds up no other. `on_change` is called from the watching threads after each change, and must be quick; after a
    list its key has no name. So is `on_rollout_end`, before it, after a change that ends the rollout of a workload.
    `clock`: monotonic seconds."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Iterable[str],
        on_change: Callable[[WorkloadKey], None],
        clock: Callable[[], float] = monotonic,
        on_rollout_end: Callable[[WorkloadKey], None] = lambda _: None,
    ) -> None:
        named = frozenset(namespaces)
        self.namespaces = frozenset({"*"}) if "*" in named else named
        self._cluster = cluster
        self._on_change, self._on_rollout_end = on_change, on_rollout_end
        self._workloads: dict[WorkloadKey, WorkloadObject] = {}
        self._missing = Missing(clock)
        self._autoscalers = AutoscalerIndex()
        self._follow: dict[Resource, Callable[[str], None]] = {
            resource: partial(self._follow_workloads, kind) for kind, resource in WORKLOADS.items()
        } | {AUTOSCALERS: self._follow_autoscalers}
        self._status = SyncStatus(self._follow, self.namespaces)
        self.appeared = 0
        """How many workloads have appeared: a name that was unknown before may be one of them."""
        self._stop = Interruption()
        self._threads: list[Thread] = []

    def start(self) -> None:
        for resource, follow in self._follow.items():
            for namespace in sorted(self.namespaces):
                name = f"watch {resource.name} in {namespace}"
                thread = Thread(target=self._keep_following, args=[resource, namespace, follow], name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        """A thread that is in a list call does not delay the end: it dies with the process."""
        self._stop.set()
        ends_at = monotonic() + STOP_WITHIN
        for thread in self._threads:
            thread.join(timeout=max(0.0, ends_at - monotonic()))

    @property
    def has_synced(self) -> bool:
        """Whether every list has been read once, or was refused."""
        return all(one.refused for one in self._status.missing())

    def unsynced(self) -> list[MissingList]:
        return self._status.missing()

    def is_readable(self, namespace: str, kind: Kind = Kind.DEPLOYMENT) -> bool:
        """Whether its workloads of the kind are in the cache: without them, no decision may be made on them."""
        return self.manages(namespace) and self._status.find(WORKLOADS[kind], self.scope(namespace)) is None

    @property
    def readable(self) -> list[str]:
        """The namespaces whose Deployments can be read, or "*": the permissions for other kinds are optional."""
        return sorted(filter(self.is_readable, self.namespaces))

    def delays(self) -> Delays:
        """How many seconds later than usual a due row is taken up, as a list that it depends on has not synced: another
        reconciler may have it in its cache. A refusal to list autoscalers delays nothing: it is known that they are
        unknown."""
        delays = dict[tuple[str, Kind], float]()
        for one in self._status.missing():
            delay = LEFT_TO_OTHERS if one.cause else UNTIL_LISTED
            for kind in () if one.refused and one.resource is AUTOSCALERS else DEPENDENT[one.resource]:
                delays[one.namespace, kind] = max(delay, delays.get((one.namespace, kind), 0.0))
        return delays

    def manages(self, namespace: str) -> bool:
        return "*" in self.namespaces or namespace in self.namespaces

    def get(self, key: WorkloadKey) -> WorkloadObject | None:
        return self._workloads.get(key)

    def keys(self) -> list[WorkloadKey]:
        """Of all workloads that are in the cache."""
        return list(self._workloads.copy())

    def workloads(self, namespace: str) -> list[WorkloadObject]:
        """Those of the namespace that are in the cache."""
        return [one for key, one in self._workloads.copy().items() if key.namespace == namespace]

    def observe(self, target: Target) -> TargetState:
        if not self.manages(target.namespace):
            return UNMANAGED
        key, scope = WorkloadKey.of(target), self.scope(target.namespace)
        autoscaler, unlisted = self._autoscalers.of(key), self._status.find(AUTOSCALERS, scope)
        known = TargetState(True, True, self.get(key), autoscaler, unlisted.why if unlisted else "")
        if unreadable := self._status.find(WORKLOADS[key.kind], scope):
            return replace(known, seen=False, object=None, unreadable=str(unreadable))
        if known.object is not None:
            return known
        others = (kind for kind in Kind if kind != key.kind)
        namesakes = tuple(kind for kind in others if self.get(WorkloadKey(key.namespace, key.name, kind)) is not None)
        return replace(known, missing=key in self._missing, namesakes=namesakes)

    def observe_live(self, target: Target) -> TargetState:
        """The same, with a live read of a workload that is not in the cache: the cache may lag behind. If the read
        fails, the target is unreadable: the watch of a namespace that was deleted notices it minutes later."""
        state, key = self.observe(target), WorkloadKey.of(target)
        if not state.managed or state.object is not None or state.unreadable or state.missing:
            return state
        try:
            return replace(state, object=self._cluster.get_workload(key))
        except NotFound:
            self._missing.add(key)
            return replace(state, missing=True)
        except ClusterError as error:
            return replace(state, seen=False, unreadable=f"{key.kind} {key.place}: {error.message}")

    def autoscaler_of(self, key: WorkloadKey) -> AutoscalerFacts | None:
        return self._autoscalers.of(key)

    def forget_missing(self, key: WorkloadKey) -> None:
        """The name stands for something else: the next signal with it is identified in the same way."""
        self._missing.discard(key)

    def scope(self, namespace: str) -> str:
        return "*" if "*" in self.namespaces else namespace

    def _keep_following(self, resource: Resource, namespace: str, follow: Callable[[str], None]) -> None:
        """A watch ends only with `stop`. An error that it does not expect makes its namespace
        unreadable until it is over."""
        while True:
            try:
                return follow(namespace)
            except Exception as error:
                log.exception("the watch of %s in %s failed", resource.name, namespace)
                cause = f"{type(error).__name__}: {error!s:.500}"
                failed: WatchEvent[Any] = WatchEvent(WatchEventType.REFUSED, message=cause)
                self._report(resource, namespace, failed)
                self._forget(resource, namespace)
            if self._stop.wait(RESTART_AFTER):
                return None

    def _follow_workloads(self, kind: Kind, namespace: str) -> None:
        for event in self._cluster.watch_workloads(kind, _in_api(namespace), self._stop):
            if event.object is None:
                self._report(WORKLOADS[kind], namespace, event)
                continue
            key = event.object.key
            if event.type is WatchEventType.DELETED:
                self._workloads.pop(key, None)
            else:
                before, self._workloads[key] = self._workloads.get(key), event.object
                self.appeared += before is None
                self._missing.discard(key)
                if before is not None and _is_rolling(before) and not _is_rolling(event.object):
                    self._on_rollout_end(key)
            self._on_change(key)

    def _follow_autoscalers(self, namespace: str) -> None:
        for event in self._cluster.watch_autoscalers(_in_api(namespace), self._stop):
            if event.object is None:
                self._report(AUTOSCALERS, namespace, event)
            else:
                changed = self._autoscalers.update(event.object, deleted=event.type is WatchEventType.DELETED)
                for key in changed:
                    self._on_change(key)

    def _forget(self, resource: Resource, namespace: str) -> None:
        """Another watch does not know what this one has listed, so it cannot report what was deleted in between."""
        for key in [key for key in self._workloads if WORKLOADS[key.kind] is resource]:
            if namespace in ("*", key.namespace):
                self._workloads.pop(key, None)

    def _report(self, resource: Resource, namespace: str, event: WatchEvent[W]) -> None:
        """The state of a whole list has changed."""
        if event.type is WatchEventType.SYNCED:
            if before := self._status.synced(resource, namespace):
                log.info("Cache synced: %s", before.what)
        else:
            refused = event.type is WatchEventType.REFUSED
            if news := self._status.failed(resource, namespace, event.message, refused=refused):
                log.warning("Cache not synced: %s", news)
        self._on_change(WorkloadKey(namespace, ""))


class AutoscalerIndex:
    """The autoscalers by the workload that they scale."""

    def __init__(self) -> None:
        self._by_workload: dict[WorkloadKey, dict[ObjectKey, Autoscaler]] = {}
        self._workloads: dict[ObjectKey, WorkloadKey] = {}  # by autoscaler
        self._lock = Lock()  # between watching threads

    def update(self, autoscaler: Autoscaler, *, deleted: bool) -> set[WorkloadKey]:
        """The workloads that it scaled or scales. Readers take no lock: each value is replaced as a whole, and the old
        one is there until the new one is."""
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
        return {one for one in (before, workload) if one is not None}

    def of(self, workload: WorkloadKey) -> AutoscalerFacts | None:
        """The first by name. Several autoscalers of one workload work against each other; each is a reason not to
        scale it."""
        if not (autoscalers := self._by_workload.get(workload)):
            return None
        first = autoscalers[min(autoscalers)]
        return AutoscalerFacts(first.key.name, first.min_replicas, first.max_replicas)


def _is_rolling(workload: WorkloadObject) -> bool:
    return rollout_state(workload) is RolloutState.IN_PROGRESS


def _in_api(namespace: str) -> str:
    return "" if namespace == "*" else namespace
