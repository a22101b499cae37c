"""What is unique among all actions. A unique key of a partitioned table contains its partition key, so these keys are
tables of their own. Triggers of Action write them, with the rights of the owner."""

from datetime import timedelta
from uuid import UUID

from django.db import models
from django.db.models import Q

from orchestrator.models.workload import Workload
from signals import actors
from signals.lib import batches
from signals.lib.partitions import COUNTED_FOR, Unended

BATCH = 20_000  # rows in a transaction


class ActiveAction(models.Model):
    """The active action of a workload: inserted with the action, deleted when the action ends. A dry run changes
    nothing, and may be active beside it."""

    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="+", db_index=False)
    action = models.OneToOneField(
        "Action", on_delete=models.PROTECT, primary_key=True, related_name="+", db_constraint=False
    )
    dry_run = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workload"], condition=Q(dry_run=False), name="one_active_action_per_target"
            )
        ]

    def __str__(self) -> str:
        return f"{self.action_id} of {self.workload_id}"

    @classmethod
    def oldest_and_newest(cls) -> list[UUID]:
        ids = cls.objects.values_list("pk", flat=True)
        return list(ids.order_by("pk")[:1].union(ids.order_by("-pk")[:1], all=True))


# Between these ids are all active actions, and those that were requested lately.
ACTIVE_IDS = Unended(ActiveAction.oldest_and_newest, before=COUNTED_FOR, after=timedelta(days=1))


class IdempotencyKey(models.Model):
    """The action that a requester created with a key. It lives as long as the action."""

    action = models.OneToOneField(
        "Action", on_delete=models.PROTECT, primary_key=True, related_name="+", db_constraint=False
    )
    requested_by = models.CharField(max_length=actors.MAX_LENGTH)
    key = models.CharField(max_length=256)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["requested_by", "key"], name="one_action_per_idempotency_key"),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.requested_by}"

    @classmethod
    def forget_actions(cls, first: UUID, last: UUID) -> int:
        """Deletes the keys of actions, `first <= id < last`, whose rows were dropped. Returns their number."""
        return batches.delete(cls.objects.filter(action__gte=first, action__lt=last).order_by("pk"), BATCH)
