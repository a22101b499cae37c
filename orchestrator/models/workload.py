"""The target of actions, and the lock under which decisions on it are made."""

from django.db import connection, models

from orchestrator.k8s.types import WorkloadKey
from signals.types import Target

_PLACE = "cluster = %(cluster)s AND namespace = %(namespace)s AND kind = %(kind)s AND name = %(name)s"
_LOCK = f"SELECT id FROM orchestrator_workload WHERE {_PLACE} FOR UPDATE"  # noqa: S608 - it is composed of constants
_STORE = """
    INSERT INTO orchestrator_workload (cluster, namespace, kind, name)
    VALUES (%(cluster)s, %(namespace)s, %(kind)s, %(name)s) ON CONFLICT DO NOTHING
"""


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
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, place)
            while (found := cursor.fetchone()) is None:
                cursor.execute(_STORE, place)
                cursor.execute(_LOCK, place)
        return cls.from_db(connection.alias, ["id", *place], [*found, *place.values()])
