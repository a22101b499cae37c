"""The target of actions, and the lock under which decisions on it are made."""

from collections.abc import Collection, Iterable

import pgtrigger
from django.db import connection, models

from orchestrator import queries
from orchestrator.k8s.types import WorkloadKey
from signals.lib import triggers
from signals.types import Kind, Target, workload_name


class Workload(models.Model):
    """Its row is the lock: a decision and its reservation happen while the row is locked, one at a time."""

    cluster = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63)
    kind = models.CharField(max_length=32)
    name = models.CharField(max_length=253)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "namespace", "name", "kind"], name="one_workload")]
        triggers = [triggers.Refuse(name="never_changed", operation=pgtrigger.Update | pgtrigger.Truncate)]

    def __str__(self) -> str:
        return workload_name(self.kind, self.namespace, self.name)

    @property
    def target(self) -> Target:
        return Target(self.cluster, self.namespace, self.name, Kind(self.kind))

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey.of(self.target)

    @classmethod
    def lock(cls, targets: Iterable[Target]) -> dict[Target, "Workload"]:
        """Locks the rows of the targets until the surrounding transaction ends, and stores those that are new. Waits
        for a row that another session has locked."""
        return cls._lock_or_store(targets, queries.LOCK_WORKLOADS)

    @classmethod
    def lock_free(cls, targets: Iterable[Target]) -> dict[Target, "Workload"]:
        """The same without those that another session has locked. Sets a limit for all locks that the transaction
        waits for: after it, LockNotAvailable is raised."""
        return cls._lock_or_store(targets, queries.LOCK_FREE_WORKLOADS)

    @classmethod
    def lock_rows(cls, ids: Collection[int]) -> None:
        """Locks rows that exist, in the same order, and sets the same limit."""
        queries.fetch(queries.LOCK_WORKLOAD_ROWS, [{"id": pk} for pk in ids])

    @classmethod
    def lock_free_rows(cls, ids: Collection[int]) -> set[int]:
        """The ids of those that no other session has locked, locked in the same order; with the same limit."""
        limit_lock_waits()
        free = cls.objects.filter(pk__in=ids).order_by("pk").select_for_update(skip_locked=True)
        return set(free.values_list("pk", flat=True))

    @classmethod
    def _lock_or_store(cls, targets: Iterable[Target], statement: str) -> dict[Target, "Workload"]:
        wanted = {target: _columns(target) for target in targets}
        found = cls._lock(statement, wanted.values())
        if new := [wanted[target] for target in sorted(wanted.keys() - found.keys(), key=str)]:
            Workload.objects.bulk_create([Workload(**columns) for columns in new], ignore_conflicts=True)
            found = cls._lock(statement, wanted.values())
        return found

    @classmethod
    def _lock(cls, statement: str, wanted: Iterable[dict[str, str]]) -> dict[Target, "Workload"]:
        names = ["id", "cluster", "namespace", "kind", "name"]
        rows = queries.fetch(statement, wanted)
        return {row.target: row for row in (cls.from_db(None, names, values) for values in rows)}


def limit_lock_waits() -> None:
    """For the rest of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(queries.LIMIT_LOCK_WAITS)


def _columns(target: Target) -> dict[str, str]:
    return {"cluster": target.cluster, "namespace": target.namespace, "kind": target.kind, "name": target.name}
