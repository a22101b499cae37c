"""The target of actions, and the lock under which decisions on it are made."""

from django.db import models

from orchestrator.k8s.types import WorkloadKey
from signals.types import Target


class Workload(models.Model):
    """Its row is the lock: a decision and its reservation happen while it is held, one at a time."""

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
    def lock(cls, target: Target) -> "Workload":
        """Locks the row until the surrounding transaction ends."""
        place = {"cluster": target.cluster, "namespace": target.namespace, "kind": target.kind, "name": target.name}
        row = Workload.objects.select_for_update().filter(**place).first()
        if row is None:
            Workload.objects.bulk_create([Workload(**place)], ignore_conflicts=True)
            row = Workload.objects.select_for_update().get(**place)
        return row
