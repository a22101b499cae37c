"""The evidence of an action: its decisions, its timeline, its verification. Rows of the first two never change, and a
verification never after its end."""

from enum import StrEnum

import uuid_utils.compat as uuids
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orchestrator.models.publishing import CURRENT_XID
from signals import actors
from signals.actors import ActorKind
from signals.lib import triggers
from signals.lib.constraints import are_actors
from signals.models import Signal
from signals.reasons import Reason


def by_callers(column: str) -> Q:
    """The actor in this column is neither a rule nor a reconciler: the condition of indexes that the closed loop does
    not have to maintain."""
    software = [Q(**{f"{column}__startswith": f"{kind}:"}) for kind in (ActorKind.RECONCILER, ActorKind.RULE)]
    return ~software[0] & ~software[1]


class VerificationStatus(models.TextChoices):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"


class Phase(StrEnum):
    """When a decision was made."""

    ADMIT = "admit"  # before an action is created
    PLAN = "plan"  # before a write, again


# What a verification compares with: set when it begins.
VERIFICATION_BASIS = ("action", "generation", "baseline", "stabilization_seconds", "started_at")


class Verification(models.Model):
    """The evidence: what was to be reached, and the replica counts that were observed last. An empty status: still
    under way.

    `stabilization_seconds` and `cooldown_seconds` are the limits at the time of the write. `baseline` is what
    verification compares with: `before` of the action, and `"fields": [str]`, the changed fields that were ours after
    the write.
    """

    action = models.OneToOneField(
        "Action", on_delete=models.PROTECT, primary_key=True, related_name="verification", db_constraint=False
    )
    status = models.CharField(max_length=16, choices=VerificationStatus.choices, blank=True)
    message = models.TextField(blank=True)
    generation = models.BigIntegerField()
    baseline = models.JSONField()
    stabilization_seconds = models.PositiveIntegerField(default=0)
    cooldown_seconds = models.PositiveIntegerField(default=0, db_default=0)
    desired_replicas = models.PositiveIntegerField(null=True)
    ready_replicas = models.PositiveIntegerField(null=True)
    available_replicas = models.PositiveIntegerField(null=True)
    updated_replicas = models.PositiveIntegerField(null=True)
    observed_generation = models.BigIntegerField(null=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="", finished_at=None) | ~Q(status="") & Q(finished_at__isnull=False),
                name="verified_iff_finished",
            )
        ]
        triggers = [
            triggers.kept(),
            triggers.unchanged("finished_unchanged", condition="OLD.status <> ''"),
            triggers.unchanged("basis_unchanged", *VERIFICATION_BASIS),
        ]

    def __str__(self) -> str:
        return f"{self.status or 'in progress'}: {self.message}"


class DecisionRecord(models.Model):
    """Why something was done or not: all inputs, and the verdict of every guardrail. `decide(inputs)` returns the same
    verdicts again, always.

    `cluster`, `kind`, `namespace` and `workload` are the target that was decided on, as in Signal: a name that stands
    for no workload yet is as it was reported. `requested_by` is the actor of the proposal: a token, or the rule that
    matched. If no rule matched, it is the token that opened the signal. `outcome` is that of guardrails.types.Decision.
    `inputs` is guardrails.types.Inputs as JSON, `verdicts` a list of guardrails.types.Verdict.
    """

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    phase = models.CharField(max_length=8, choices=[(phase.value, phase.value) for phase in Phase])
    signal = models.ForeignKey(
        Signal, on_delete=models.PROTECT, null=True, related_name="decisions", db_constraint=False
    )
    action = models.ForeignKey(
        "Action", on_delete=models.PROTECT, null=True, related_name="decisions", db_constraint=False
    )
    cluster = models.CharField(max_length=63)
    kind = models.CharField(max_length=32)
    namespace = models.CharField(max_length=63)
    workload = models.CharField(max_length=253)
    requested_by = models.CharField(max_length=actors.MAX_LENGTH)
    outcome = models.CharField(max_length=16)
    reason = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    until = models.DateTimeField(null=True)
    inputs = models.JSONField()
    verdicts = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    xid = models.BigIntegerField(db_default=CURRENT_XID)  # of the transaction: where publishers find it

    class Meta:
        verbose_name = "decision"
        # A decision that led to an action is published with the action's transitions.
        indexes = [
            models.Index(fields=["xid"], condition=Q(action=None), name="decision_published"),
            # The audit searches for these (docs/adr/0052-the-audit-is-read-from-its-tables.md).
            models.Index(fields=["namespace", "workload", "id"], name="decision_of_workload"),
            models.Index(fields=["reason", "id"], condition=~Q(reason=""), name="decision_by_reason"),
            models.Index(
                fields=["requested_by", "id"], condition=by_callers("requested_by"), name="decision_by_caller"
            ),
        ]
        constraints = [are_actors("decision_names_actor", "requested_by")]
        triggers = [triggers.append_only()]

    def __str__(self) -> str:
        return f"{self.outcome} {self.reason}".strip()


class AuditEvent(models.Model):
    """One transition of one action, written by a trigger of Action: the rows of its timeline, in order."""

    id = models.BigAutoField(primary_key=True)
    action = models.ForeignKey("Action", on_delete=models.PROTECT, related_name="events", db_constraint=False)
    at = models.DateTimeField(db_default=Now())
    from_state = models.CharField(max_length=24, blank=True)
    to_state = models.CharField(max_length=24)
    epoch = models.PositiveIntegerField()
    reason = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    actor = models.CharField(max_length=actors.MAX_LENGTH)
    xid = models.BigIntegerField(db_default=CURRENT_XID)  # of the transaction: where publishers find it

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["xid"], name="auditevent_published"),
            # The audit is a list by time, and searches for these. Ascending: new rows come at the end.
            models.Index(fields=["at", "id"], name="auditevent_at"),
            models.Index(
                fields=["reason", "at", "id"],
                condition=~Q(reason__in=("", Reason.ROLLOUT_COMPLETE)),
                name="auditevent_by_reason",
            ),
            models.Index(fields=["actor", "at", "id"], condition=by_callers("actor"), name="auditevent_by_caller"),
        ]
        triggers = [triggers.append_only()]

    def __str__(self) -> str:
        return f"{self.from_state or 'new'} → {self.to_state}"
