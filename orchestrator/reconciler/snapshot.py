"""Stores what the cluster cache has, for the web process: the workloads that have changed, in batches.

One reconciler writes the workloads of a namespace, by a lease. So a cache that lags behind does not overwrite another
one's rows, and reconcilers do not wait for each other. Who takes the lease compares the rows with its cache.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from django.db import transaction

from guardrails.types import AutoscalerFacts
from orchestrator import metrics, queries
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.revision import held, latest_rollout, rollout_state
from orchestrator.k8s.rollout import obstacle_of, rollout
from orchestrator.k8s.types import WorkloadKey, WorkloadObject
from orchestrator.models import ObservedWorkload
from orchestrator.reconciler.batch import store_together
from signals.types import Kind

log = logging.getLogger(__name__)

LEASE = 15.0  # seconds
RENEW = 5.0  # seconds between two renewals, if nothing has changed
BATCH = 250  # workloads of one pass
MAX_FIELDS = 50  # of an owner
Row = dict[str, Any]


class Snapshot:
    """Of one cluster. Used by the thread of the control loop."""

    def __init__(self, cluster: str, reconciler: str, cache: ClusterCache) -> None:
        self._cluster, self._reconciler, self._cache = cluster, reconciler, cache
        self._held: set[str] = set()  # the namespaces of the lease
        self._stored: dict[WorkloadKey, str] = {}  # the digests of their rows
        self._changed: dict[WorkloadKey, None] = {}  # to be compared, oldest first
        self._renew_at = 0.0

    def changed(self, keys: Iterable[WorkloadKey]) -> None:
        """These workloads, or those of a namespace that was listed: a key without a name."""
        for key in keys:
            if key.name:
                self._changed[key] = None
            else:
                self._compare_all(key.namespace)

    def store(self, now: float) -> int:
        """Stores a batch, if there is something to store or the lease is to be renewed. Returns how many rows were
        written or deleted. `now`: monotonic seconds."""
        if not self._changed and now < self._renew_at:
            return 0
        batch = list(self._changed)[:BATCH]
        try:
            with transaction.atomic():
                self._take_lease(complete=len(batch) == len(self._changed))
                changed = dict(self._compared([key for key in batch if self._cache.scope(key.namespace) in self._held]))
                self._write([row for row in changed.values() if row is not None])
                gone = [_names(key) for key, row in changed.items() if row is None]
                if gone:
                    queries.execute(queries.DELETE_OBSERVED, gone, cluster=self._cluster)
        except Exception:
            self._held.clear()  # what is stored is unknown: the next lease compares everything
            raise
        self._renew_at = now + RENEW
        for key in batch:
            self._changed.pop(key, None)
        for key, row in changed.items():
            if row is None:
                self._stored.pop(key, None)
            else:
                self._stored[key] = row["digest"]
        return len(changed)

    def _write(self, rows: list[Row]) -> None:
        """A row that PostgreSQL refuses stays as it was stored before, until its workload changes."""
        store_together(rows, self._execute, _log_failure)

    def _execute(self, rows: Sequence[Row]) -> Sequence[Row]:
        with transaction.atomic():
            queries.execute(queries.STORE_OBSERVED, rows, cluster=self._cluster)
        return rows

    def _take_lease(self, *, complete: bool) -> None:
        """`complete`: what is stored in this transaction is all that has changed."""
        complete = complete and self._cache.has_synced
        wanted = [
            {"namespace": one, "complete": complete and one in self._held} for one in sorted(self._cache.namespaces)
        ]
        terms = {"cluster": self._cluster, "reconciler": self._reconciler, "lease": LEASE}
        got = {namespace for (namespace,) in queries.fetch(queries.OBSERVE_NAMESPACES, wanted, **terms)}
        for namespace in got - self._held:
            others = {key: one for key, one in self._stored.items() if namespace not in ("*", key.namespace)}
            self._stored = others | self._load(namespace)
            self._compare_all(namespace)
        self._held = got

    def _load(self, namespace: str) -> dict[WorkloadKey, str]:
        rows = ObservedWorkload.objects.filter(cluster=self._cluster)
        if namespace != "*":
            rows = rows.filter(namespace=namespace)
        found = rows.values_list("kind", "namespace", "name", "digest")
        return {WorkloadKey(place, name, Kind(kind)): digest for kind, place, name, digest in found}

    def _compare_all(self, namespace: str) -> None:
        known = [*self._cache.keys(), *self._stored]
        self._changed |= dict.fromkeys(key for key in known if namespace in ("*", key.namespace))

    def _compared(self, keys: Iterable[WorkloadKey]) -> Iterator[tuple[WorkloadKey, Row | None]]:
        """The rows that differ from what is stored; None for a workload that was deleted."""
        for key in keys:
            workload = self._cache.get(key)
            if workload is not None:
                try:
                    row = describe(workload, self._cache.autoscaler_of(key))
                except Exception as error:  # noqa: BLE001 - it costs this workload only
                    _log_failure(_names(key), error)
                    continue
                if self._stored.get(key) != row["digest"]:
                    yield key, row
            elif key in self._stored and self._cache.is_readable(key.namespace, key.kind):
                yield key, None


def describe(workload: WorkloadObject, autoscaler: AutoscalerFacts | None) -> Row:
    """The columns of its row, without the cluster."""
    latest = latest_rollout(workload)
    obstacle = obstacle_of(workload)
    row: Row = {
        **_names(workload.key),
        "uid": workload.uid,
        "generation": workload.generation,
        "replicas": workload.replicas,
        "ready": workload.ready_replicas,
        "available": workload.available_replicas,
        "updated": workload.updated_replicas,
        "rollout": rollout_state(workload),
        "rollout_message": rollout(workload).message,
        "rollout_by": latest.by,
        "rollout_since": latest.since and latest.since.isoformat(),
        "paused": workload.paused,
        "deleting": workload.deleting,
        "held": held(workload),
        "problem": obstacle.message if obstacle else "",
        "own": workload.part_of_smartops,
        "autoscaler": None
        if autoscaler is None
        else {
            "name": autoscaler.name,
            "min_replicas": autoscaler.min_replicas,
            "max_replicas": autoscaler.max_replicas,
        },
        "owners": [
            {"kind": one.kind, "name": one.name, "fields": list(one.fields[:MAX_FIELDS])} for one in workload.owners
        ],
        "complete_generation": workload.generation if _is_complete(workload) else 0,  # the row keeps an earlier one
    }
    return {**row, "digest": blake2b(json.dumps(row).encode(), digest_size=16).hexdigest()}


def _is_complete(workload: WorkloadObject) -> bool:
    """Whether its status is of its generation, with all replicas available."""
    is_current = workload.observed_generation >= workload.generation
    return is_current and workload.available_replicas >= workload.replicas


def _log_failure(row: Row, error: Exception) -> None:
    metrics.FAILED_STEPS.inc()
    where = "{kind} {namespace}/{name}".format_map(row)
    text = "%s could not be stored for the console; it is stored when the workload changes again"
    log.error(text, where, exc_info=error)


def _names(key: WorkloadKey) -> Row:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}
