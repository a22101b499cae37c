"""One Action is one intended change and its life.

Each transition is one method over one private compare-and-set on (state, epoch); nothing else writes `state`.
PostgreSQL refuses what must not be: two active actions on a workload, a finished row in an unfinished state, an
illegal transition.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pgtrigger
import uuid_utils.compat as uuids
from django.db import connection, models, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.models import Cooldown, effective_limits
from guardrails.types import Limits
from orchestrator import metrics
from orchestrator.actions import HANDLERS
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.types import Deployment
from orchestrator.models.evidence import Verification, VerificationStatus
from orchestrator.models.states import ACTIVE, FINAL, TRANSITIONS, ActionState
from orchestrator.models.states import ActionState as S
from orchestrator.models.workload import Workload
from signals.lib import tracing
from signals.lib.statements import NOW, FromNow, LostRace, insert, update
from signals.lib.transition_log import log_transition
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal

LEASE = FromNow(30)  # a call to the cluster may take a third of it
PENDING_FOR = timedelta(minutes=15)
REVIEW_FOR = FromNow(24 * 3600)


VERIFIED_AS = {
    VerificationStatus.SUCCESS: S.SUCCEEDED,
    VerificationStatus.FAILED: S.FAILED,
    VerificationStatus.TIMED_OUT: S.TIMED_OUT,
}


# Nearly always there are none, as the first attempt of a signal's action is claimed with its admission.
_DUE = """
    SELECT id FROM orchestrator_action WHERE cluster = %s AND state = 'pending' AND not_before <= statement_timestamp()
    ORDER BY not_before LIMIT %s FOR UPDATE SKIP LOCKED
"""


class Action(models.Model):
    """`epoch` counts claims: whoever holds an older one has lost the action. `planned_uid`, `planned_resource_version`
    and `change` are the plan, committed before the write; `ambiguous` says that a copy of the write
    may be under way or may have been applied."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    workload = models.ForeignKey(Workload, on_delete=models.PROTECT, related_name="actions")
    cluster = models.CharField(max_length=63)  # the workload's: each reconciler claims for its own
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, null=True, related_name="actions")
    origin = models.CharField(max_length=16, choices=[(o.value, o.value) for o in Origin])
    requested_by = models.CharField(max_length=128)
    idempotency_key = models.CharField(max_length=256, null=True)  # noqa: DJ001 - NULL is what a unique key ignores
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
    moved_by = models.CharField(max_length=128)  # whose transition was the last
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
    scale_increase = models.PositiveIntegerField(default=0)
    ambiguous = models.BooleanField(default=False)
    traceparent = models.CharField(max_length=55, blank=True, db_default="")  # of its admission

    planned_under: Limits | None = None  # the limits, where this very process has planned it

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workload"], condition=Q(state__in=ACTIVE), name="one_active_action_per_target"
            ),
            models.UniqueConstraint(fields=["requested_by", "idempotency_key"], name="one_action_per_idempotency_key"),
            models.CheckConstraint(
                condition=Q(state__in=FINAL, finished_at__isnull=False) | Q(state__in=ACTIVE, finished_at=None),
                name="finished_iff_final",
            ),
            models.CheckConstraint(
                condition=Q(state=S.APPLYING, lease_until__isnull=False) | ~Q(state=S.APPLYING) & Q(lease_until=None),
                name="leased_iff_applying",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[S.VERIFYING, S.TIMED_OUT]) | Q(applied_at__isnull=False),
                name="verified_only_what_was_applied",
            ),
        ]
        indexes = [
            models.Index(fields=["cluster", "not_before"], condition=Q(state="pending"), name="action_due"),
            models.Index(fields=["cluster", "lease_until"], condition=Q(state="applying"), name="action_leased"),
            models.Index(fields=["deadline_at"], condition=Q(state__in=ACTIVE), name="action_deadline"),
            models.Index(fields=["workload", "applied_at"], condition=Q(dry_run=False), name="action_window"),
            models.Index(fields=["state", "-id"], name="action_by_state"),
        ]
        triggers = [
            pgtrigger.FSM(
                name="action_transitions",
                field="state",
                transitions=[(here.value, there.value) for here, theres in TRANSITIONS.items() for there in theres],
            ),
            # No audit row, no effect: whoever moves an action, by whatever statement, leaves its row in the timeline
            # and wakes those who listen, in the same transaction.
            pgtrigger.Trigger(
                name="audit",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.UpdateOf("state", "epoch", "updated_at"),
                declare=[("came_from", "text DEFAULT ''")],
                func="""
                    IF TG_OP = 'UPDATE' THEN came_from := OLD.state; END IF;
                    INSERT INTO orchestrator_auditevent
                        (action_id, at, from_state, to_state, epoch, reason, message, details, actor)
                    VALUES (NEW.id, clock_timestamp(), came_from, NEW.state, NEW.epoch, NEW.reason, NEW.message,
                        NEW.details, NEW.moved_by);
                    PERFORM pg_notify('smartops', 'action:' || NEW.id);
                    RETURN NULL;
                """,
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
        )

    @classmethod
    def propose(cls, proposal: Proposal, workload: Workload, requested_by: str, **fields: Any) -> "Action":
        """A new pending action. Raises IntegrityError where the workload has an active one."""
        action = cls(
            workload=workload,
            cluster=workload.cluster,
            origin=proposal.origin,
            requested_by=requested_by,
            moved_by=requested_by,
            type=proposal.type,
            params=dict(proposal.params),
            justification=proposal.reason,
            dry_run=proposal.dry_run,
            verify=proposal.verify,
            traceparent=tracing.traceparent(),
            **fields,
        )
        insert(action)
        log_transition(
            "action", action.pk, "", action.state, signal=action.signal_id, target=workload, actor=requested_by
        )
        return action

    def claim(self, actor: str) -> None:
        """pending → applying, for `LEASE`: nobody else may touch it meanwhile."""
        self._move(
            S.APPLYING,
            actor=actor,
            epoch=self.epoch + 1,
            attempts=self.attempts + 1,
        )

    @classmethod
    def claim_due(cls, cluster: str, limit: int, actor: str) -> list["Action"]:
        """Claims as many as are due. Several reconcilers share the work: each skips the others' rows."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_DUE, [cluster, limit])
                due = [pk for (pk,) in cursor.fetchall()]
            rows = list(Action.objects.filter(pk__in=due).select_related("workload", "signal").order_by("not_before"))
            for row in rows:
                row.claim(actor)
        return rows

    def reclaim(self, actor: str) -> None:
        """applying → applying under a new epoch, when the lease is over by the database's clock. The former owner may
        have sent its write."""
        self._move(
            S.APPLYING,
            actor=actor,
            message="The process that held this action went silent.",
            known={
                "planned_resource_version": self.planned_resource_version
            },  # planned since we read it: then our copy knows too little
            also="lease_until <= statement_timestamp()",
            epoch=self.epoch + 1,
            attempts=self.attempts + 1,
            ambiguous=self.ambiguous or bool(self.planned_resource_version),
        )

    def plan(self, deployment: Deployment, change: dict[str, Any], scale_increase: int, actor: str) -> None:
        """The intent, committed before the effect: what will be written, and to which version of which object. It
        claims a pending action."""
        claims = int(self.state == S.PENDING)
        self._move(
            S.APPLYING,
            actor=actor,
            message=f"Planned against version {deployment.resource_version}.",
            planned_uid=deployment.uid,
            planned_resource_version=deployment.resource_version,
            planned_generation=deployment.generation,
            before={"replicas": deployment.replicas, "available": deployment.available_replicas},
            change=change,
            scale_increase=scale_increase,
            epoch=self.epoch + claims,
            attempts=self.attempts + claims,
        )

    def keep_plan(self, deployment: Deployment, actor: str) -> None:
        """The same change again, against the version that the target has now: nothing but its status or metadata
        moved since the plan, if anything did."""
        self._move(
            S.APPLYING,
            actor=actor,
            message=f"Writing the same change against version {deployment.resource_version}.",
            planned_resource_version=deployment.resource_version,
        )

    def applied(self, deployment: Deployment, limits: Limits, actor: str) -> None:
        """applying → verifying, or → succeeded where nothing is to be verified. From now on the action counts in the
        windows, and its cooldown runs: `applied_at` is the latest moment at which the write can have taken effect."""
        if self.dry_run:
            message = "The API server accepted the dry run; nothing was changed."
            self._move(S.SUCCEEDED, actor=actor, message=message)
            return
        with transaction.atomic():
            self._start_cooldown(limits)
            if not self.verify:
                message = "Applied; not verified, as asked."
                self._move(S.SUCCEEDED, actor=actor, message=message, applied_at=NOW)
                return
            self._move(
                S.VERIFYING,
                actor=actor,
                message=f"Applied as generation {deployment.generation}.",
                applied_at=NOW,
                planned_uid=deployment.uid,
                deadline_at=FromNow(limits.verification_timeout_seconds),
            )
            fields = overlapping(deployment.ours, HANDLERS[ActionType(self.type)].fields(self.proposal))
            Verification.begin(
                action=self,
                generation=deployment.generation,
                baseline={**(self.before or {}), "fields": fields},
                stabilization_seconds=limits.stabilization_seconds,
            )

    def retry(self, reason: Reason, message: str, delay: timedelta, actor: str, *, ambiguous: bool = False) -> None:
        """applying → pending. A write known not to have landed is planned anew; an ambiguous one keeps its plan, and
        the next claim resolves it first."""
        plan: dict[str, Any] = (
            {}
            if ambiguous
            else {
                "planned_uid": "",
                "planned_resource_version": "",
                "planned_generation": None,
                "change": None,
                "scale_increase": 0,
            }
        )
        self._move(
            S.PENDING,
            actor=actor,
            reason=reason,
            message=message,
            not_before=FromNow(delay.total_seconds()),
            ambiguous=ambiguous,
            **plan,
        )

    def cancel(self, reason: str, message: str, actor: str, details: dict[str, Any] | None = None) -> None:
        self._move(S.CANCELLED, actor=actor, reason=reason, message=message, details=details or {})

    def fail(self, reason: str, message: str, actor: str) -> None:
        self._move(S.FAILED, actor=actor, reason=reason, message=message)

    def review(self, message: str, actor: str) -> None:
        """It cannot be known whether our change landed: a person decides. Until then the target stays occupied."""
        self._move(
            S.NEEDS_REVIEW,
            actor=actor,
            reason=Reason.OUTCOME_UNKNOWN,
            message=message,
            deadline_at=REVIEW_FOR,
        )

    def reviewed(self, landed: bool, message: str, actor: str) -> None:
        """A person says what came of a write whose outcome was unknown."""
        if landed:
            self._count_as_applied(S.SUCCEEDED, Reason.REVIEWED, message, actor)
        else:
            self._move(S.CANCELLED, actor=actor, reason=Reason.REVIEWED, message=message)

    def review_expired(self, actor: str) -> None:
        """Nobody decided. The write is counted as if it had landed: a limit must not be exceeded by not knowing."""
        self._count_as_applied(S.FAILED, Reason.REVIEW_EXPIRED, "Nobody reviewed it in time.", actor)

    def _count_as_applied(self, to: ActionState, reason: Reason, message: str, actor: str) -> None:
        with transaction.atomic():
            self._start_cooldown(effective_limits(self.workload.target))
            self._move(to, actor=actor, reason=reason, message=message, applied_at=NOW)

    def _start_cooldown(self, limits: Limits) -> None:
        Cooldown.start({(self.workload.target, ActionType(self.type)): timedelta(seconds=limits.cooldown_seconds)})

    def verified(
        self, status: VerificationStatus, reason: Reason, message: str, seen: Deployment | None, actor: str
    ) -> None:
        """verifying → succeeded, failed or timed_out, with the evidence: what was last `seen`."""
        with transaction.atomic():
            self._move(VERIFIED_AS[status], actor=actor, reason=reason, message=message)
            counts = {} if seen is None else observed_counts(seen)
            evidence = {"status": status, "message": message, "finished_at": NOW, **counts}
            update(Verification, {"action": self.pk}, evidence)

    def _move(
        self,
        to: ActionState,
        *,
        actor: str,
        reason: str = "",
        message: str = "",
        details: dict[str, Any] | None = None,
        known: Mapping[str, Any] = {},
        also: str = "true",
        **changes: Any,
    ) -> None:
        """The only writer of `state`: moves exactly the row that we saw, or raises LostRace. The timeline's row and the
        notification are the trigger's."""
        came_from = ActionState(self.state)
        if came_from in FINAL:
            raise LostRace(f"action {self.pk} is {came_from}")
        changes |= {"state": to, "reason": reason, "message": message, "details": details or {}}
        changes |= {"moved_by": actor, "updated_at": NOW}
        changes["lease_until"] = LEASE if to == S.APPLYING else None
        if to in FINAL:
            changes["finished_at"] = NOW
        with transaction.atomic(savepoint=False):
            if to in FINAL:
                # Before the action, as everybody takes them: who decides on the target meanwhile finds it free, or
                # has committed its deferral, which `_release` then ends.
                Workload.lock(self.workload.target)
            stored = update(Action, {"id": self.pk, "state": self.state, "epoch": self.epoch, **known}, changes, also)
            if stored is None:
                raise LostRace(f"action {self.pk} moved on from {self.state} at epoch {self.epoch}")
            log_transition("action", self.pk, came_from, to, reason=reason, signal=self.signal_id, actor=actor)
            for name, value in stored.items():
                setattr(self, name, value)
            if to in FINAL:
                self._release()

    def _release(self) -> None:
        """The target is free: its signal closes, and the signals that wait for the target are due."""
        transaction.on_commit(self._count)
        if self.signal is not None:
            self.signal.close()
        Signal.wake_waiting([self.workload.target], Reason.TARGET_BUSY)

    def _count(self) -> None:
        status = "success" if self.state == S.SUCCEEDED else str(self.state)
        if self.signal is None:
            metrics.DIRECT_ACTIONS.labels(type=self.type.lower(), status=status).inc()
            return
        now = timezone.now()
        metrics.ACTIONS.labels(type=self.type.lower(), status=status).inc()
        exemplar = tracing.exemplar()
        took, since = (now - self.created_at).total_seconds(), (now - self.signal.first_seen_at).total_seconds()
        metrics.ACTION_DURATION.labels(type=self.type.lower()).observe(took, exemplar)
        metrics.DURATION.labels(status=status).observe(since, exemplar)


def observed_counts(seen: Deployment) -> dict[str, Any]:
    return {
        "desired_replicas": seen.replicas,
        "ready_replicas": seen.ready_replicas,
        "available_replicas": seen.available_replicas,
        "updated_replicas": seen.updated_replicas,
        "observed_generation": seen.observed_generation,
    }
