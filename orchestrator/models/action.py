"""One Action is one intended change and its life.

PostgreSQL refuses what must not be: two active actions on a workload, a finished row in an unfinished state, a
transition that the table of states does not have. `transition_store.py` is the only writer of `state`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pgtrigger
import uuid_utils.compat as uuids
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from orchestrator.k8s.sync import Delays
from orchestrator.models.keys import ACTIVE_IDS
from orchestrator.models.states import ACTIVE, FINAL, TRANSITIONS, ActionState
from orchestrator.models.states import ActionState as S
from orchestrator.models.workload import Workload
from signals import actors
from signals.lib import tracing, triggers
from signals.lib.constraints import are_actors
from signals.models import Signal
from signals.proposals import inverse
from signals.proposals.images import Images, Irreversible
from signals.types import ActionType, Origin, Proposal

PENDING_FOR = timedelta(minutes=15)

# What was requested, by whom: set when the action is created.
IDENTITY = (
    *("id", "workload", "cluster", "signal", "origin", "requested_by", "reported_by"),
    *("idempotency_key", "request_digest"),
    *("type", "params", "justification", "dry_run", "verify", "created_at", "traceparent"),
)
PLAN = (
    *("planned_uid", "planned_resource_version", "planned_generation"),
    *("before", "change", "before_image", "after_image", "warnings"),
    *("scale_increase", "scale_decrease"),
    *("digest", "shown"),
)
# In `applying` only until the plan, which has the version of the object that the write names.
UNWRITTEN_IN = (S.AWAITING_APPROVAL, S.PENDING, S.APPLYING)
# A plan is made before the write, and again after a write that was refused.
PLANNING = "OLD.state IN ('awaiting_approval', 'pending', 'applying')"
ENDED = "OLD.state IN ('" + "', '".join(FINAL) + "')"
FORGOTTEN = (
    "NEW.epoch < OLD.epoch OR NEW.attempts < OLD.attempts "
    "OR (OLD.applied_at IS NOT NULL AND NEW.applied_at IS DISTINCT FROM OLD.applied_at)"
)


# What is unique among all actions (orchestrator/models/keys.py).
TAKE_KEYS = """
    INSERT INTO orchestrator_activeaction (workload_id, action_id, dry_run)
    SELECT workload_id, id, dry_run FROM moved WHERE finished_at IS NULL;
    INSERT INTO orchestrator_idempotencykey (requested_by, key, action_id)
    SELECT requested_by, idempotency_key, id FROM moved WHERE idempotency_key IS NOT NULL;
"""
FREE_WORKLOADS = """
    DELETE FROM orchestrator_activeaction active USING moved
    WHERE active.action_id = moved.id AND moved.finished_at IS NOT NULL;
"""


def _audits(
    operation: pgtrigger.Operation, came_from: str, source: str, keys: str, **how: Any
) -> triggers.OwnersTrigger:
    """No audit row, no effect: every statement that moves actions writes their rows of the timeline and notifies
    listeners, in the same transaction. No role but the owner of the tables may insert into the timeline. `keys`: the
    statements that take or free what is unique."""
    return triggers.OwnersTrigger(
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        func=f"""
            {keys}
            INSERT INTO orchestrator_auditevent
                (action_id, at, from_state, to_state, epoch, reason, message, details, actor)
            SELECT moved.id, clock_timestamp(), {came_from}, moved.state, moved.epoch, moved.reason, moved.message,
                moved.details, moved.moved_by
            FROM {source};
            PERFORM pg_notify('smartops', 'action:' || moved.id::text) FROM {source};
            IF EXISTS (SELECT FROM moved WHERE moved.state = 'pending') THEN
                PERFORM pg_notify('smartops_pending', 'pending:');
            END IF;
            RETURN NULL;
        """,  # noqa: S608 - it is composed of constants
        **how,
    )


class Action(models.Model):
    """`epoch` counts claims: a holder of an older epoch has lost the action. `planned_uid`, `planned_resource_version`,
    `planned_generation` and `change` are the plan, committed before the write. `ambiguous` says that a copy of the
    write may be under way or may have been applied.

    JSON columns: `params` are those of the proposal, by type (signals.types.Proposal). `details` are the facts behind
    `reason`, as in the verdict of a guardrail. `before` is `{"replicas": int, "available": int, "paused": bool,
    "conditions": [[type, status, reason, updated_at]]}`, of the version that is planned. `change` is what the action's
    handler planned: SCALE `{"replicas": int}`, RESTART `{"value": str}`, PATCH `{"patch": {…}}`. `before_image` and
    `after_image` are the changed fields of the object: `{path: value}`, as signals/proposals/images.py has them,
    without those that the object does not have. The first is of the planned version; the second is planned with it, and
    replaced by the API server's answer to the write. `warnings` are the verdicts that warn, of the decision that
    allowed the plan: `[{"guardrail": str, "reason": str, "message": str, "details": {…}}]`. `shown` is what persons are
    asked to approve (orchestrator/decide/approval.py, `Shown`), and `digest` its digest; null and empty if nobody was
    asked. `rehearsal` is the last dry run of what is shown, which a person has requested: `{"digest": str, "by": actor,
    "done": bool, "ok": bool, "message": str, "after": image}`, the last three once it is done. `reported_by` are the
    tokens that reported the signal until the action was admitted: `[actor]`, at most 16.
    """

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="actions", db_index=False)
    cluster = models.CharField(max_length=63)  # the workload's: each reconciler claims for its own
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, null=True, related_name="actions", db_constraint=False)
    origin = models.CharField(max_length=16, choices=[(o.value, o.value) for o in Origin])
    requested_by = models.CharField(max_length=actors.MAX_LENGTH)
    reported_by = models.JSONField(default=list, db_default=[])
    idempotency_key = models.CharField(max_length=256, null=True)  # noqa: DJ001 - NULL: none was given
    request_digest = models.CharField(max_length=64, blank=True)
    type = models.CharField(max_length=16, choices=[(t.value, t.value) for t in ActionType])
    params = models.JSONField(default=dict)
    justification = models.TextField(blank=True)
    dry_run = models.BooleanField(default=False)
    verify = models.BooleanField(default=True)

    state = models.CharField(max_length=24, choices=ActionState.choices, default=ActionState.PENDING)
    reason = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    details = models.JSONField(default=dict)
    moved_by = models.CharField(max_length=actors.MAX_LENGTH)  # the actor of the last transition
    epoch = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField(db_default=Now() + PENDING_FOR)
    lease_until = models.DateTimeField(null=True)
    applied_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    planned_uid = models.CharField(max_length=64, blank=True)
    planned_resource_version = models.CharField(max_length=64, blank=True)
    planned_generation = models.BigIntegerField(null=True)
    before = models.JSONField(null=True)
    change = models.JSONField(null=True)
    before_image = models.JSONField(null=True)
    after_image = models.JSONField(null=True)
    scale_increase = models.PositiveIntegerField(default=0)
    scale_decrease = models.PositiveIntegerField(default=0, db_default=0)
    warnings = models.JSONField(default=list, db_default=[])
    digest = models.CharField(max_length=64, blank=True, db_default="")
    shown = models.JSONField(null=True)
    rehearsal = models.JSONField(null=True)
    ambiguous = models.BooleanField(default=False)
    traceparent = models.CharField(max_length=55, blank=True, db_default="")  # of its admission

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=FINAL, finished_at__isnull=False) | Q(state__in=ACTIVE, finished_at=None),
                name="finished_iff_final",
            ),
            models.CheckConstraint(
                condition=Q(state=S.APPLYING, lease_until__isnull=False) | ~Q(state=S.APPLYING) & Q(lease_until=None),
                name="leased_iff_applying",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[S.VERIFYING, S.TIMED_OUT, S.OBSERVED]) | Q(applied_at__isnull=False),
                name="verified_only_what_was_applied",
            ),
            models.CheckConstraint(
                condition=~Q(state=S.AWAITING_APPROVAL) | ~Q(digest="") & Q(shown__isnull=False),
                name="asked_only_what_is_shown",
            ),
            are_actors("action_names_actors", "requested_by", "moved_by"),
        ]
        indexes = [
            models.Index(fields=["cluster", "not_before"], condition=Q(state="pending"), name="action_due"),
            models.Index(fields=["cluster", "lease_until"], condition=Q(state="applying"), name="action_leased"),
            models.Index(fields=["cluster", "id"], condition=Q(state="awaiting_approval"), name="action_waiting"),
            models.Index(fields=["deadline_at"], condition=Q(state__in=ACTIVE), name="action_deadline"),
            models.Index(fields=["workload", "id"], name="action_of_workload"),
            models.Index(fields=["workload", "applied_at"], condition=Q(dry_run=False), name="action_window"),
            models.Index(fields=["state", "-id"], name="action_by_state"),
            models.Index(fields=["-id"], condition=Q(state__in=[S.FAILED, S.TIMED_OUT]), name="action_unsuccessful"),
            models.Index(
                fields=["workload", "finished_at"],
                condition=Q(state=S.FAILED, applied_at=None, dry_run=False),
                name="action_refused",
            ),
            models.Index(
                fields=["workload", "applied_at"],
                condition=Q(dry_run=False, scale_increase__gt=0, applied_at__isnull=False),
                name="action_scaled",
            ),
        ]
        triggers = [
            triggers.kept(),
            triggers.unchanged("identity_unchanged", *IDENTITY),
            triggers.unchanged("plan_unchanged", *PLAN, condition=f"NOT ({PLANNING})"),
            triggers.unchanged("progress_kept", condition=FORGOTTEN),
            triggers.unchanged("ended_unchanged", condition=ENDED),
            triggers.FSM(
                name="action_transitions",
                field="state",
                transitions=[(here.value, there.value) for here, theres in TRANSITIONS.items() for there in theres],
            ),
            _audits(
                pgtrigger.Insert,
                "''",
                "moved",
                TAKE_KEYS,
                name="audit_new",
                referencing=pgtrigger.Referencing(new="moved"),
            ),
            _audits(
                pgtrigger.Update,
                "earlier.state",
                "moved JOIN earlier USING (id) WHERE (moved.state, moved.epoch, moved.updated_at) "
                "IS DISTINCT FROM (earlier.state, earlier.epoch, earlier.updated_at)",
                FREE_WORKLOADS,
                name="audit_moved",
                referencing=pgtrigger.Referencing(old="earlier", new="moved"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.workload}"

    @property
    def proposal(self) -> Proposal:
        return Proposal(
            type=ActionType(self.type),
            target=self.workload.target,
            origin=Origin(self.origin),
            params=self.params,
            reason=self.justification,
            dry_run=self.dry_run,
            verify=self.verify,
            requested_by=self.requested_by,
        )

    @property
    def is_unwritten(self) -> bool:
        """No write of it was sent, and none can be without another transition: an action that is ended now had no
        effect."""
        return self.state in UNWRITTEN_IN and not self.ambiguous and not self.planned_resource_version

    @property
    def images(self) -> Images | None:
        """None until the change is planned."""
        if self.before_image is None or self.after_image is None:
            return None
        return Images(self.before_image, self.after_image)

    def inverse(self, prefixes: tuple[str, ...]) -> Mapping[str, Any] | Irreversible | None:
        """The parameters of an action of the same type that puts the changed fields back; None until it is planned."""
        images = self.images
        return None if images is None else inverse(ActionType(self.type), self.change or {}, images, prefixes)

    @classmethod
    def new(cls, proposal: Proposal, workload: Workload, **fields: Any) -> "Action":
        """A pending action, not stored yet. `fields`: id, signal, idempotency_key, request_digest; moved_by, if another
        actor than the requester creates it."""
        return cls(
            workload=workload,
            cluster=workload.cluster,
            origin=proposal.origin,
            requested_by=proposal.requested_by,
            type=proposal.type,
            params=dict(proposal.params),
            justification=proposal.reason,
            dry_run=proposal.dry_run,
            verify=proposal.verify,
            digest="",  # not left to the database: within one insert, some rows may have a digest and others none
            **{"traceparent": tracing.traceparent(), "moved_by": proposal.requested_by, **fields},
        )

    @staticmethod
    def is_past(moment: str, delays: Delays) -> Q:
        """Whether the time in the column `moment` has passed: for the namespaces ("*" is all) and kinds of `delays`, by
        at least so many seconds."""
        past = Q(**{f"{moment}__lte": Now()})
        for (namespace, kind), seconds in delays.items():
            place = {} if namespace == "*" else {"workload__namespace": namespace}
            past &= ~Q(workload__kind=kind, **place) | Q(**{f"{moment}__lte": Now() - timedelta(seconds=seconds)})
        return past

    @classmethod
    def of_active_months(cls) -> models.QuerySet["Action"]:
        """All active actions, and others of the same months: for queries that no id bounds."""
        return cls.objects.filter(pk__range=ACTIVE_IDS())

    @classmethod
    def new_id(cls) -> UUID:
        """Sorting by id is sorting by time."""
        return uuids.uuid7()
