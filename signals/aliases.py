"""Aliases: the workloads that the names of detectors stand for."""

import pgtrigger
from django.core.exceptions import ValidationError
from django.db import models

from signals import queries
from signals.identity import cycle
from signals.lib import triggers
from signals.names import name_problems
from signals.patterns import MAX_PATTERN, pattern_problem
from signals.types import AliasSpec, Kind, Source


class Alias(models.Model):
    """Names of targets that match `pattern` stand for one workload. Aliases are tried by priority, then age, and only
    for a name that the cluster does not know. A change of any alias makes unidentified signals due."""

    source = models.CharField(
        max_length=32, blank=True, choices=[("", "Any source"), *((s.value, s.value) for s in Source)]
    )
    cluster = models.CharField(max_length=63, blank=True, help_text="Of the signal. Empty: any.")
    namespace = models.CharField(max_length=63, blank=True, help_text="Of the signal. Empty: any.")
    pattern = models.CharField(
        max_length=MAX_PATTERN,
        help_text="A regular expression of RE2 for the whole name, for instance Tomcat[0-9]+ or (?i)checkout.service.",
    )
    kind = models.CharField(max_length=32, choices=[(k.value, k.value) for k in Kind], default=Kind.DEPLOYMENT)
    to_namespace = models.CharField(
        "namespace of the workload",
        max_length=63,
        blank=True,
        help_text="Empty: that of the signal. A token that may post such a name can cause changes in this namespace.",
    )
    workload = models.CharField(max_length=253)
    priority = models.PositiveSmallIntegerField(default=100, help_text="Smaller is tried first.")
    enabled = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "signals"
        verbose_name_plural = "aliases"
        ordering = ["priority", "id"]
        triggers = [
            triggers.after(
                "wake_unidentified", pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete, queries.WAKE_UNIDENTIFIED
            ),
            *triggers.recorded(volatile=("updated_at",)),
        ]

    def __str__(self) -> str:
        return f"{self.pattern} → {self.workload}"

    def spec(self) -> AliasSpec:
        return AliasSpec(
            id=self.pk or 0,
            pattern=self.pattern,
            kind=Kind(self.kind),
            workload=self.workload,
            source=Source(self.source) if self.source else "",
            cluster=self.cluster,
            namespace=self.namespace,
            to_namespace=self.to_namespace,
        )

    @classmethod
    def specs(cls) -> list[AliasSpec]:
        """The enabled ones, in the order in which they are tried."""
        return [alias.spec() for alias in cls.objects.filter(enabled=True)]

    def clean(self) -> None:
        problems = name_problems(cluster=self.cluster, namespace=self.namespace, workload=self.workload)
        if problem := name_problems(namespace=self.to_namespace).get("namespace"):
            problems["to_namespace"] = problem
        if problem := pattern_problem(self.pattern):
            problems["pattern"] = problem
        if problems:
            raise ValidationError(problems)
        others = [alias.spec() for alias in Alias.objects.filter(enabled=True).exclude(pk=self.pk)]
        if self.enabled and self.kind in set(Kind) and (found := cycle(self.spec(), others)):
            path = ", then ".join(f"{alias.pattern} → {alias.workload}" for alias in found)
            raise ValidationError(
                f"The aliases form a cycle: {path}. An alias names a workload, and no other alias: write the name that "
                "the workload has in the cluster."
            )
