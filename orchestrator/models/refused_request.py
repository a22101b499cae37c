"""Direct requests that were refused before a decision about their target was made."""

from django.db import models
from django.db.models import F
from django.db.models.functions import Now, TruncHour

from signals import actors
from signals.actors import Actor
from signals.lib import triggers
from signals.lib.constraints import are_actors
from signals.types import Target

MAX_TARGETS = 100  # of one actor and hour
NO_TARGET = Target("", "", "")


class RefusedRequest(models.Model):
    """All requests of one actor for one target that were refused for one reason within an hour: because of the scopes
    or the namespaces of the token, or by the allowlist of patches. `message` is that of the last one. Without a
    target, the body was not read, or the actor had `MAX_TARGETS` rows in this hour: a flood adds no more rows. `hour`
    is when the hour began."""

    requested_by = models.CharField(max_length=actors.MAX_LENGTH)
    hour = models.DateTimeField()
    reason = models.CharField(max_length=64)
    cluster = models.CharField(max_length=63, blank=True)
    kind = models.CharField(max_length=32, blank=True)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253, blank=True)
    message = models.TextField()
    count = models.PositiveIntegerField()
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "refused request"
        indexes = [models.Index(fields=["first_at"], name="refused_request_at")]  # never changes: a count stays cheap
        constraints = [
            models.UniqueConstraint(
                fields=["requested_by", "hour", "reason", "cluster", "kind", "namespace", "name"],
                name="one_row_per_refused_request",
            ),
            are_actors("refused_request_names_actor", "requested_by"),
        ]
        triggers = [triggers.kept()]

    def __str__(self) -> str:
        return f"{self.reason}, {self.count} times"

    @classmethod
    def record(cls, requested_by: Actor, target: Target, reason: str, message: str) -> None:
        """Counts a request that was refused."""
        if cls._count(requested_by, target, reason, message):
            return
        if cls.objects.filter(requested_by=requested_by, hour=TruncHour(Now())).count() >= MAX_TARGETS:
            target = NO_TARGET
        new = RefusedRequest(requested_by=requested_by, reason=reason, message=message, count=0, **_columns(target))
        new.hour = TruncHour(Now())  # by the clock of the database
        RefusedRequest.objects.bulk_create([new], ignore_conflicts=True)  # another process may have inserted it
        cls._count(requested_by, target, reason, message)

    @classmethod
    def _count(cls, requested_by: Actor, target: Target, reason: str, message: str) -> bool:
        rows = cls.objects.filter(requested_by=requested_by, hour=TruncHour(Now()), reason=reason, **_columns(target))
        return bool(rows.update(count=F("count") + 1, last_at=Now(), message=message))


def _columns(target: Target) -> dict[str, str]:
    kind = target.kind if target.name else ""
    return {"cluster": target.cluster, "kind": kind, "namespace": target.namespace, "name": target.name}
