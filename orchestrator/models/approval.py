"""What persons decide on actions that wait for an approval."""

from enum import StrEnum

import pgtrigger
import uuid_utils.compat as uuids
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from signals import actors
from signals.lib import triggers


class Vote(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


class Approval(models.Model):
    """One decision of one person on what was shown of an action. Of a person's rows with the digest of the action, the
    last one counts.

    `digest`: of what was shown (orchestrator/decide/approval.py). `by`: a person, as an actor; the database accepts no
    other kind. `reason`: required for a rejection. `acknowledged`: why the risk was high, as the person acknowledged it
    for an approval: `[sentence]`; empty if it was not."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    action = models.ForeignKey("Action", on_delete=models.PROTECT, related_name="approvals", db_constraint=False)
    digest = models.CharField(max_length=64)
    by = models.CharField(max_length=actors.MAX_LENGTH)
    decision = models.CharField(max_length=16, choices=[(vote.value, vote.value) for vote in Vote])
    reason = models.TextField(blank=True)
    acknowledged = models.JSONField(default=list, db_default=[])
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(by__startswith="user:"), name="approval_by_person"),
            models.CheckConstraint(condition=Q(decision=Vote.APPROVE) | ~Q(reason=""), name="rejection_has_reason"),
        ]
        triggers = [
            triggers.append_only(),
            triggers.Unswitched(  # an approval that others have to join moves no action
                name="announce_approval",
                level=pgtrigger.Row,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                func="PERFORM pg_notify('smartops', 'action:' || NEW.action_id::text); RETURN NULL;",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} by {self.by}"
