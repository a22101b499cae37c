"""A snapshot of the workloads in the cluster caches, for the web process, which reads no cluster.

Reconcilers write it (orchestrator/reconciler/snapshot.py). They decide on their caches, and read the live object before
a write. Of the snapshot they use `complete_generation` alone: what was available once.
"""

from datetime import timedelta

import pgtrigger
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from guardrails.types import RolloutState
from signals import actors
from signals.lib import batches, triggers
from signals.types import Kind, Target, workload_name

FORGOTTEN_AFTER = timedelta(days=1)
BATCH = 1000  # rows in a transaction, each of which notifies the consoles


def _announces(name: str, operation: pgtrigger.Operation, rows: pgtrigger.Referencing) -> triggers.Unswitched:
    """Notifies listeners that some rows have changed: once for a statement, which has a batch of them."""
    return triggers.Unswitched(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=rows,
        func="IF EXISTS (SELECT FROM touched) THEN PERFORM pg_notify('smartops', 'workload:'); END IF; RETURN NULL;",
    )


class ObservedWorkload(models.Model):
    """One workload as the cluster cache of a reconciler had it last. A workload that was deleted has no row.

    `rollout` is that of guardrails.types.RolloutFacts, with its message, the field manager that began it (`rollout_by`)
    and when. `problem`: what the cluster says about pods that it does not run. `held`: why a change of the pod template
    reaches no pod. `own`: what marks it as a workload of SmartOps. `autoscaler` is `{"name": str, "min_replicas": int,
    "max_replicas": int}` or None, `owners` `[{"kind": str, "name": str, "fields": [str]}]` with at most 50 fields each.
    `complete_generation`: the latest generation of the object of which all replicas were available; 0 if none was.
    `digest` is one of all these columns. `observed_at`: when one of them changed, by the clock of the database."""

    cluster = models.CharField(max_length=63)
    kind = models.CharField(max_length=32, choices=[(kind.value, kind.value) for kind in Kind])
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    generation = models.BigIntegerField()
    replicas = models.PositiveIntegerField()
    ready = models.PositiveIntegerField()
    available = models.PositiveIntegerField()
    updated = models.PositiveIntegerField()
    rollout = models.CharField(max_length=16, choices=[(state.value, state.value) for state in RolloutState])
    rollout_message = models.TextField(blank=True)
    rollout_by = models.TextField(blank=True)
    rollout_since = models.DateTimeField(null=True)
    paused = models.BooleanField()
    deleting = models.BooleanField()
    held = models.TextField(blank=True)
    problem = models.TextField(blank=True)
    own = models.TextField(blank=True)
    autoscaler = models.JSONField(null=True)
    owners = models.JSONField()
    complete_generation = models.BigIntegerField(db_default=0)
    digest = models.CharField(max_length=32)
    observed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "namespace", "name", "kind"], name="observed_once")]
        triggers = [
            _announces("announce_new", pgtrigger.Insert, pgtrigger.Referencing(new="touched")),
            _announces("announce_changed", pgtrigger.Update, pgtrigger.Referencing(new="touched")),
            _announces("announce_deleted", pgtrigger.Delete, pgtrigger.Referencing(old="touched")),
        ]

    def __str__(self) -> str:
        return workload_name(self.kind, self.namespace, self.name)

    @property
    def target(self) -> Target:
        return Target(self.cluster, self.namespace, self.name, Kind(self.kind))

    @staticmethod
    def unhealthy() -> Q:
        """Pods are missing, the cluster refuses them, or the rollout is stuck."""
        return Q(available__lt=F("replicas")) | Q(rollout=RolloutState.STUCK) | ~Q(problem="")

    @property
    def is_unhealthy(self) -> bool:
        return self.available < self.replicas or self.rollout == RolloutState.STUCK or self.problem != ""

    @classmethod
    def forget_unobserved(cls) -> None:
        """Deletes the rows of namespaces that no reconciler has observed for a day: their clusters or namespaces are
        managed no more."""
        observed = ObservedNamespace.objects.filter(lease_until__gt=Now() - FORGOTTEN_AFTER)
        of_row = observed.filter(cluster=OuterRef("cluster"), namespace__in=["*", OuterRef("namespace")])
        batches.delete(cls.objects.filter(~Exists(of_row)).order_by("pk"), BATCH)
        ObservedNamespace.objects.filter(lease_until__lte=Now() - FORGOTTEN_AFTER).delete()


class ObservedNamespace(models.Model):
    """Which reconciler writes the workloads of a namespace ("*": of all of a cluster), until `lease_until`.
    `complete_at`: when its rows last had what was in its cache; None: not yet."""

    cluster = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63)
    reconciler = models.CharField(max_length=actors.MAX_LENGTH)
    lease_until = models.DateTimeField()
    complete_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "namespace"], name="one_observer")]

    def __str__(self) -> str:
        return f"{self.cluster} {self.namespace}: {self.reconciler}"

    @classmethod
    def of(cls, target: Target) -> "QuerySet[ObservedNamespace]":
        return cls.objects.filter(cluster=target.cluster, namespace__in=["*", target.namespace])
