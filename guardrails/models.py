"""What operators set: limits per scope, and freezes. What the reconciler sets: cooldowns."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

import pgtrigger
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import connection, models
from django.db.models import OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from guardrails import queries
from guardrails.checks.approval import labels_of
from guardrails.types import FreezeFacts, Limits
from signals import actors
from signals.lib import triggers
from signals.lib.constraints import are_actors
from signals.names import name_problems
from signals.queries import WAKE_DEFERRED
from signals.types import ActionType, Kind, Mode, Target, workload_name

LIMIT_FIELDS = tuple(field.name for field in fields(Limits) if field.name != "sources")
# The least and the most that a person may set. What is beyond is a typing error, or would make a guardrail useless.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "max_replicas": (1, 10_000),
    "min_replicas": (0, 10_000),
    "cooldown_seconds": (0, 7 * 86_400),
    "max_actions_per_hour": (0, 1_000),
    "max_scale_increase": (0, 10_000),
    "max_scale_decrease": (0, 10_000),
    "rollout_settle_seconds": (0, 86_400),
    "signal_ttl_seconds": (10, 86_400),
    "verification_timeout_seconds": (5, 86_400),
    "stabilization_seconds": (0, 3_600),
    "max_unapproved_replicas": (0, 10_000),
    "max_unapproved_percent": (0, 1_000_000),
    "approvals_required": (1, 10),
    "approval_timeout_seconds": (60, 7 * 86_400),
}
_LABEL = r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?(=[A-Za-z0-9._-]{0,63})?"
KINDS = [(kind.value, kind.value) for kind in Kind]
INHERITED: tuple[None, str] = (None, "inherited")
INHERITED_OR = [INHERITED, (True, "yes"), (False, "no")]
LONGEST_FREEZE, LONGEST_COOLDOWN = timedelta(days=366), timedelta(days=7)


def _wakes_signals(
    operation: pgtrigger.Operation, name: str = "wake_signals", condition: pgtrigger.Condition | None = None
) -> triggers.Unswitched:
    """A trigger that makes every deferred signal due: the end of a deferral was computed from the former settings."""
    return triggers.after(name, operation, WAKE_DEFERRED, condition)


def _require_end(until: datetime | None, longest: timedelta, past: str, late: str) -> None:
    now = timezone.now()
    if until is not None and until <= now:
        raise ValidationError({"until": f"{until:%Y-%m-%d %H:%M} UTC is in the past. {past}"})
    if until is not None and until > now + longest:
        raise ValidationError({"until": f"It is more than {longest.days} days away. {late}"})


def scope_name(cluster: str, kind: str, namespace: str, workload: str) -> str:
    """`cluster c, StatefulSets in namespace n`, for instance. Without a kind, the scope has all kinds."""
    parts = [f"cluster {cluster}"] if cluster else []
    if workload:
        parts.append(f"{kind} {namespace}/{workload}".strip())
    elif kind:
        parts.append(f"{kind}s in namespace {namespace}" if namespace else f"{kind}s")
    elif namespace:
        parts.append(f"namespace {namespace}")
    return ", ".join(parts) or "everything"


class Scope(models.Model):
    """A workload, a namespace, a cluster or everything, of one kind or of all: an empty field means any."""

    cluster = models.CharField(max_length=63, blank=True, help_text="Empty: all clusters.")
    kind = models.CharField(max_length=32, blank=True, choices=[("", "All kinds"), *KINDS])
    namespace = models.CharField(max_length=63, blank=True, help_text="Empty: all namespaces.")
    workload = models.CharField(max_length=253, blank=True, help_text="Empty: all workloads of the namespace.")

    class Meta:
        abstract = True

    def clean(self) -> None:
        problems = name_problems(cluster=self.cluster, namespace=self.namespace, workload=self.workload)
        if self.workload and not self.namespace:
            problems["namespace"] = "A workload is named within its namespace."
        if problems:
            raise ValidationError(problems)

    @staticmethod
    def covering(target: Target) -> Q:
        return (
            Q(cluster__in=("", target.cluster))
            & Q(kind__in=("", target.kind))
            & Q(namespace__in=("", target.namespace))
            & Q(workload__in=("", target.name))
        )

    @property
    def scope(self) -> str:
        return scope_name(self.cluster, self.kind, self.namespace, self.workload)


class GuardrailSetting(Scope):
    """Limits of one scope. An empty limit inherits from the next wider scope, field by field."""

    max_replicas = models.PositiveIntegerField(
        null=True, blank=True, help_text="An action that leads to more replicas is refused."
    )
    min_replicas = models.PositiveIntegerField(
        null=True, blank=True, help_text="The closed loop does not scale down below this number."
    )
    cooldown_seconds = models.PositiveIntegerField(
        "cooldown (seconds)", null=True, blank=True, help_text="From an action to the next one of its type."
    )
    max_actions_per_hour = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of each type, for each workload."
    )
    max_scale_increase = models.PositiveIntegerField(
        null=True, blank=True, help_text="Replicas added within 15 minutes."
    )
    max_scale_decrease = models.PositiveIntegerField(
        null=True, blank=True, help_text="Replicas removed within 15 minutes."
    )
    rollout_settle_seconds = models.PositiveIntegerField(
        "rollout settle time (seconds)",
        null=True,
        blank=True,
        help_text="How long the closed loop waits after somebody else changed the pod template.",
    )
    signal_ttl_seconds = models.PositiveIntegerField(
        "signal TTL (seconds)", null=True, blank=True, help_text="A signal expires this time after its last report."
    )
    verification_timeout_seconds = models.PositiveIntegerField(
        "verification timeout (seconds)",
        null=True,
        blank=True,
        validators=[MinValueValidator(5)],
        help_text="How long a rollout has to be complete.",
    )
    stabilization_seconds = models.PositiveIntegerField(
        "stabilization (seconds)",
        null=True,
        blank=True,
        help_text="How long a complete rollout has to stay complete.",
    )
    respect_owners = models.BooleanField(
        null=True,
        blank=True,
        choices=INHERITED_OR,
        help_text="Leave alone what an autoscaler, GitOps or an operator would set again.",
    )
    mode = models.CharField(  # noqa: DJ001 - NULL: it inherits, as every limit
        max_length=16,
        null=True,
        blank=True,
        choices=[INHERITED, *((mode.value, mode.value) for mode in Mode)],
        help_text="Approve: persons decide on each action. Observe: nothing is written. A stricter mode of the rule "
        "takes precedence.",
    )
    max_unapproved_replicas = models.PositiveIntegerField(
        null=True, blank=True, help_text="An action that adds or removes more replicas takes an approval."
    )
    max_unapproved_percent = models.PositiveIntegerField(
        null=True, blank=True, help_text="The same in percent of the replicas that there are."
    )
    protected_labels = models.CharField(  # noqa: DJ001 - NULL: it inherits, as every limit
        max_length=1024,
        null=True,
        blank=True,
        help_text="NAME or NAME=VALUE, divided by commas: a workload with one of these labels takes an approval.",
    )
    approve_after_failure = models.BooleanField(
        null=True,
        blank=True,
        choices=INHERITED_OR,
        help_text="The same action takes an approval after its verification has failed.",
    )
    approvals_required = models.PositiveIntegerField(
        null=True, blank=True, help_text="So many persons have to approve an action."
    )
    approval_timeout_seconds = models.PositiveIntegerField(
        "approval timeout (seconds)",
        null=True,
        blank=True,
        help_text="After this time without a decision, the action expires.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["cluster", "namespace", "workload", "kind"]
        constraints = [
            models.UniqueConstraint(fields=["cluster", "namespace", "workload", "kind"], name="one_setting_per_scope"),
            models.CheckConstraint(condition=Q(workload="") | ~Q(namespace=""), name="setting_workload_has_namespace"),
        ]
        triggers = [
            _wakes_signals(pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete),
            *triggers.recorded(volatile=("updated_at",)),
        ]

    def __str__(self) -> str:
        return f"limits of {self.scope}"

    def clean(self) -> None:
        super().clean()
        limits = {name: getattr(self, name) for name in LIMIT_FIELDS if getattr(self, name) is not None}
        if not limits:
            raise ValidationError("This row sets no limit. Set at least one, or delete the row.")
        problems = {
            name: f"Enter a number from {least} to {most}."
            for name, (least, most) in BOUNDS.items()
            if name in limits and not least <= limits[name] <= most
        }
        stable, deadline = limits.get("stabilization_seconds", 0), limits.get("verification_timeout_seconds")
        if deadline is not None and stable >= deadline:
            problems["stabilization_seconds"] = (
                "It must be less than the verification timeout, or no rollout is stable in time."
            )
        if problem := labels_problem(limits.get("protected_labels", "")):
            problems["protected_labels"] = problem
        if limits.get("min_replicas", 0) > limits.get("max_replicas", BOUNDS["max_replicas"][1]):
            problems["min_replicas"] = "It must not be more than “Max replicas”."
        if problems:
            raise ValidationError(problems)


def labels_problem(text: str) -> str:
    """What is wrong with `protected_labels`; empty if nothing is."""
    wrong = [one for one in labels_of(text) if not re.fullmatch(_LABEL, one)]
    return f"“{wrong[0]}” is no label. Enter NAME or NAME=VALUE, divided by commas." if wrong else ""


def effective_limits(target: Target) -> Limits:
    """The limits that apply to a workload. One query."""
    return merge_limits(GuardrailSetting.objects.filter(Scope.covering(target)).values())


def merge_limits(rows: Iterable[Mapping[str, Any]]) -> Limits:
    """The defaults, overridden by `rows` from the widest scope to the narrowest, field by field. `rows`: the columns of
    the settings that cover a workload. A workload is narrower than a namespace, a namespace than a cluster, and a
    cluster than a kind."""
    limits, sources = Limits(), dict.fromkeys(LIMIT_FIELDS, "default")
    for row in sorted(rows, key=lambda row: [row[name] != "" for name in ("workload", "namespace", "cluster", "kind")]):
        own = {name: row[name] for name in LIMIT_FIELDS if row[name] is not None}
        own |= {"mode": Mode(own["mode"])} if "mode" in own else {}
        limits = replace(limits, **own)
        sources |= dict.fromkeys(own, _scope_of(row))
    return replace(limits, sources=sources)


def _scope_of(row: Mapping[str, Any]) -> str:
    return scope_name(row["cluster"], row["kind"], row["namespace"], row["workload"])


_LIFTED_NOT_DELETED = (
    triggers.unchanged("lifted_unchanged", condition="OLD.lifted_at IS NOT NULL"),
    triggers.never_deleted(),
)


class Freeze(Scope):
    """The kill switch: no action starts in its scope while it lasts. It is lifted, and never deleted."""

    reason = models.CharField(max_length=256)
    by = models.CharField(max_length=actors.MAX_LENGTH)
    created_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: until it is lifted.")
    lifted_at = models.DateTimeField(null=True, editable=False)
    lifted_by = models.CharField(max_length=actors.MAX_LENGTH, db_default="", editable=False)
    lift_reason = models.CharField(max_length=256, db_default="", editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(workload="") | ~Q(namespace=""), name="freeze_workload_has_namespace"),
            are_actors("freeze_names_actor", "by"),
            models.CheckConstraint(
                condition=Q(lifted_at=None, lifted_by="", lift_reason="")
                | Q(lifted_at__isnull=False, lifted_by__regex=actors.PATTERN) & ~Q(lift_reason=""),
                name="freeze_lifted_by_whom_and_why",
            ),
        ]
        triggers = [_wakes_signals(pgtrigger.Insert | pgtrigger.Update), *triggers.recorded(), *_LIFTED_NOT_DELETED]

    def __str__(self) -> str:
        return f"freeze of {self.scope}"

    def clean(self) -> None:
        super().clean()
        _require_end(self.until, LONGEST_FREEZE, "To end a freeze, lift it.", "Leave it empty to freeze for longer.")

    @classmethod
    def in_force(cls, target: Target | None = None) -> "models.QuerySet[Freeze]":
        """Those that cover the target, or all of them: neither lifted nor over."""
        covering = Q() if target is None else cls.covering(target)
        return cls.objects.filter(covering, Q(until=None) | Q(until__gt=Now()), lifted_at=None)

    @classmethod
    def over_rows(cls, prefix: str = "", name: str = "workload") -> "models.QuerySet[Freeze]":
        """Those in force that cover the row of an outer query, which has the columns of a target. `prefix` is that of
        its columns, without the cluster, and `name` the column with the name of the workload."""
        return cls.in_force().filter(
            cluster__in=["", OuterRef("cluster")],
            kind__in=["", OuterRef(f"{prefix}kind")],
            namespace__in=["", OuterRef(f"{prefix}namespace")],
            workload__in=["", OuterRef(f"{prefix}{name}")],
        )

    def lift(self, by: str, reason: str) -> bool:
        """Ends it. `by`: an actor. False if it is lifted already: who was first, and why, stays."""
        return bool(
            type(self)
            .objects.filter(pk=self.pk, lifted_at=None)
            .update(lifted_at=Now(), lifted_by=by, lift_reason=reason)
        )


def freeze_facts(row: Mapping[str, Any]) -> FreezeFacts:
    """`row`: the columns of a freeze, with `until` in ISO 8601 or None, as PostgreSQL's json_agg writes it."""
    until = row["until"]
    return FreezeFacts(_scope_of(row), row["reason"], row["by"], datetime.fromisoformat(until) if until else None)


class Cooldown(models.Model):
    """Until when the closed loop does not repeat this type of action on this workload."""

    cluster = models.CharField(max_length=63)
    kind = models.CharField(max_length=32, choices=KINDS, default=Kind.DEPLOYMENT)
    namespace = models.CharField(max_length=63)
    workload = models.CharField(max_length=253)
    action_type = models.CharField(max_length=16, choices=[(t.value, t.value) for t in ActionType])
    until = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "namespace", "workload", "kind", "action_type"],
                name="one_cooldown_per_workload_and_type",
            )
        ]
        triggers = [
            _wakes_signals(pgtrigger.Delete),
            _wakes_signals(
                pgtrigger.Update,
                name="wake_signals_sooner",
                condition=pgtrigger.Q(new__until__lt=pgtrigger.F("old__until")),
            ),
            *triggers.recorded(unless=queries.PROLONGED_BY_RECONCILER),
        ]

    def __str__(self) -> str:
        name = workload_name(self.kind, self.namespace, self.workload)
        return f"{self.action_type} of {name} until {self.until:%H:%M:%S}"

    def clean(self) -> None:
        if problems := name_problems(cluster=self.cluster, namespace=self.namespace, workload=self.workload):
            raise ValidationError(problems)
        hint = "To hold actions back for longer, add a freeze."
        _require_end(self.until, LONGEST_COOLDOWN, "To end a cooldown, delete it.", hint)

    @classmethod
    def of(cls, target: Target, action_type: ActionType) -> "models.QuerySet[Cooldown]":
        return cls.objects.filter(**target.scope, action_type=action_type)

    @classmethod
    def over_rows(cls, prefix: str = "", name: str = "workload") -> "models.QuerySet[Cooldown]":
        """Those in force for the workload of the row of an outer query, of any type; as `Freeze.over_rows`."""
        return cls.objects.filter(
            cluster=OuterRef("cluster"),
            kind=OuterRef(f"{prefix}kind"),
            namespace=OuterRef(f"{prefix}namespace"),
            workload=OuterRef(f"{prefix}{name}"),
            until__gt=Now(),
        )

    @classmethod
    def start(cls, cooldowns: Iterable[tuple[Target, str, int]]) -> None:
        """Of (target, action type, seconds), each from now, by the database's clock, in place of the one that runs. The
        rows are locked in one order."""
        cls._execute(queries.START_COOLDOWNS, cooldowns)

    @classmethod
    def begin_again(cls, cooldowns: Iterable[tuple[Target, str, int]]) -> None:
        """The same, for those that are over. One that a person has deleted does not begin again."""
        cls._execute(queries.BEGIN_COOLDOWNS_AGAIN, cooldowns)

    @staticmethod
    def _execute(statement: str, cooldowns: Iterable[tuple[Target, str, int]]) -> None:
        rows = [{**one.scope, "type": type_, "seconds": seconds} for one, type_, seconds in cooldowns]
        if not rows:
            return
        with connection.cursor() as cursor:
            cursor.execute(statement, [json.dumps(rows)])
