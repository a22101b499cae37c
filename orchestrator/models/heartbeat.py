"""When a cluster was last reconciled, for the web process, which knows no reconciler."""

from django.db import models
from django.db.models.functions import Now

from signals import actors


class Heartbeat(models.Model):
    """The last pass of any reconciler of the cluster. Each writes it every few seconds, after a pass."""

    cluster = models.CharField(max_length=63, primary_key=True)
    reconciler = models.CharField(max_length=actors.MAX_LENGTH)  # which one
    passed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.cluster}: {self.reconciler} at {self.passed_at:%H:%M:%S}"

    @staticmethod
    def beat(cluster: str, reconciler: str) -> None:
        row = Heartbeat(cluster=cluster, reconciler=reconciler)
        columns = ["reconciler", "passed_at"]
        Heartbeat.objects.bulk_create([row], update_conflicts=True, unique_fields=["cluster"], update_fields=columns)
