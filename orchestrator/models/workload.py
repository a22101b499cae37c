"""The target of actions, and the lock under which decisions on it are made."""

from collections.abc import Collection, Iterable

from django.db import models

from orchestrator.k8s.types import WorkloadKey
from signals.types import Target


class Workload(models.Model):
    """Its row is the lock: a decision and its reservation happen while the row is locked, one at a time."""

    cluster = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63)
    kind = models.CharField(max_length=32)
    name = models.CharField(max_length=253)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "namespace", "name", "kind"], name="one_workload")]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def target(self) -> Target:
        return Target(self.cluster, self.namespace, self.name, self.kind)

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey(self.namespace, self.name)

    @classmethod
    def lock(cls, targets: Iterable[Target]) -> dict[Target, "Workload"]:
        """Locks the rows of the targets until the surrounding transaction ends, and stores those that are new."""
        wanted = sorted(set(targets), key=_place)
        found = {row.target: row for row in cls._locked(_anywhere_of(wanted))}
        missing = [target for target in wanted if target not in found]
        if missing:
            cls.objects.bulk_create([cls(**_columns(target)) for target in missing], ignore_conflicts=True)
            # All of them again and in order: another transaction may hold a row that it has just stored.
            found = {row.target: row for row in cls._locked(_anywhere_of(wanted))}
        return found

    @classmethod
    def lock_rows(cls, ids: Collection[int]) -> None:
        """Locks rows that exist."""
        if ids:
            list(cls._locked(models.Q(pk__in=ids)))

    @classmethod
    def _locked(cls, which: models.Q) -> "models.QuerySet[Workload]":
        # Every transaction locks workloads in the order of their ids: two batches never wait for each other in a circle.
        return cls.objects.filter(which).order_by("pk").select_for_update()


def _columns(target: Target) -> dict[str, str]:
    return {"cluster": target.cluster, "namespace": target.namespace, "kind": target.kind, "name": target.name}


def _place(target: Target) -> tuple[str, ...]:
    return target.cluster, target.namespace, target.kind, target.name


def _anywhere_of(targets: Iterable[Target]) -> models.Q:
    """A condition that the unique index answers, also for many targets."""
    which = models.Q(pk__in=())
    for target in targets:
        which |= models.Q(**_columns(target))
    return which
