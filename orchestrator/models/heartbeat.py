"""When each reconciler last passed, for the web process, which knows no reconciler."""

from datetime import timedelta

from django.db import models
from django.db.models import Exists, Q
from django.db.models.functions import Now

from signals import actors

FORGOTTEN_AFTER = timedelta(days=1)


class Heartbeat(models.Model):
    """The last pass of one reconciler. It writes it every few seconds, after a pass. It deletes it when it stops in
    order and another one of the cluster goes on."""

    cluster = models.CharField(max_length=63)
    reconciler = models.CharField(max_length=actors.MAX_LENGTH)
    passed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "reconciler"], name="one_heartbeat_per_reconciler")]

    def __str__(self) -> str:
        return f"{self.cluster}: {self.reconciler} at {self.passed_at:%H:%M:%S}"

    @staticmethod
    def beat(cluster: str, reconciler: str) -> None:
        row = Heartbeat(cluster=cluster, reconciler=reconciler)
        key = ["cluster", "reconciler"]
        Heartbeat.objects.bulk_create([row], update_conflicts=True, unique_fields=key, update_fields=["passed_at"])

    @staticmethod
    def end(cluster: str, reconciler: str) -> None:
        """It stops in order, and is not missed if another one goes on. Rows that have not passed for a day are
        forgotten."""
        of_cluster = Heartbeat.objects.filter(cluster=cluster)
        old = Q(passed_at__lt=Now() - FORGOTTEN_AFTER)
        others = of_cluster.exclude(old).exclude(reconciler=reconciler)
        of_cluster.filter(old | Q(reconciler=reconciler), Exists(others)).delete()
