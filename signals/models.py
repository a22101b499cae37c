"""Signals and observations: `ingest` writes them, and the reconciler decides on signals. Other models of the app have
modules of their own."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pgtrigger
import uuid_utils.compat as uuids
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models import Q
from django.db.models.functions import Now

from signals import actors, queries
from signals.aliases import Alias
from signals.identity import How, Identified, identify, is_identified, load_naming
from signals.ledger import LastReport, Problem, Window
from signals.lib import triggers
from signals.lib.constraints import are_actors
from signals.lib.partitions import BOUNDED, Unended, generic_plan, generic_plan_transaction
from signals.mapping import considered
from signals.rules import Rule, require_readable, rules_of
from signals.setting_changes import SettingChange, SettingsVersion
from signals.types import Kind, Named, RuleSpec, SignalFacts, Source, Target, workload_name

__all__ = [
    "Alias",
    "Allowance",
    "LastReport",
    "Observation",
    "Problem",
    "Rule",
    "SettingChange",
    "SettingsVersion",
    "Signal",
    "SignalState",
    "Window",
]


class SignalState(models.TextChoices):
    """Each transition is one statement, so a crash leaves the state before it or after it. All states but `pending` and
    `admitted` are final: the signal is closed."""

    PENDING = "pending"
    """Set by ingest. Waits for `not_before`, then for a reconciler of its cluster. After a crash it is still due."""
    ADMITTED = "admitted"
    """Set by the reconciler, in the transaction that creates the action. Waits for the action to end, which closes the
    signal. After a crash another reconciler takes over the action."""
    DENIED = "denied"
    """Set by the reconciler: a guardrail refused the proposal, or the signal expired."""
    IGNORED = "ignored"
    """Set by the reconciler: no rule matched, or no threshold was met."""
    RESOLVED = "resolved"
    """Set by ingest: the source reported the end of the problem before it was admitted, or a healthy window."""
    FAILED = "failed"
    """Set by the reconciler: processing raised an error `MAX_ERRORS` times; `message` has the last one."""


class _Transitions(triggers.FSM):
    operation = pgtrigger.UpdateOf("state")  # a repeat leaves the state alone, and need not pass here


def _announces(name: str, operation: pgtrigger.Operation) -> triggers.Unswitched:
    """Notifies listeners that signals were inserted or updated: one notification for each statement, which the commit
    sends, with the ids of up to 100 signals. (A payload has 8000 bytes at most.)"""
    return triggers.Unswitched(
        name=name,
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=pgtrigger.Referencing(new="touched"),
        func="""
            PERFORM pg_notify('smartops',
                'signal:' || CASE WHEN count(*) <= 100 THEN string_agg(id::text, ',') ELSE '' END)
            FROM touched HAVING count(*) > 0;
            RETURN NULL;
        """,
    )


# Of a signal: which problem it is, since when. Its target is stored once more if it is identified by another name.
IDENTITY = ("id", "source", "cluster", "named_by", "symptom", "fingerprint", "first_seen_at")


class Signal(models.Model):
    """One problem of one workload: all observations with one fingerprint, from the first until `closed_at`. The next
    observation opens another signal, unless the decision on this one `holds` for it: then it is counted, and nothing
    else is stored of it.

    `workload` is the name that the observations use until `naming` says how it was identified (`signals.types.Naming`,
    as JSON), and from then on the workload. `named_by`: the label that the name was taken from; empty for the name of a
    workload, or what the detector takes for one. `nearest`: names of workloads that resemble an unidentified name.
    `labels`, `annotations`, `severity`, `started_at`: those of the latest observation that fired.

    `payload`: the body of the latest observation, as the detector sent it: a JSON object with the fields of
    AnomalySignal or RcaSignal (signals/sources). `count`: the observations that fired. A pending signal with a
    `not_before` in the future is deferred; `reason` and `message` say why. `kept_seconds`: how long it waited for
    SmartOps itself since it was last reported, until its last decision. An admitted signal closes with its action.
    `reported_by`: the actors that reported it firing, in order, at most 16.
    """

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    source = models.CharField(max_length=32)
    cluster = models.CharField(max_length=63)
    kind = models.CharField(max_length=32, default=Kind.DEPLOYMENT, db_default=Kind.DEPLOYMENT)
    namespace = models.CharField(max_length=63)
    workload = models.CharField(max_length=253)
    named_by = models.CharField(max_length=32, db_default="")
    naming = models.JSONField(null=True)
    nearest = models.JSONField(db_default=[])
    symptom = models.CharField(max_length=128)
    fingerprint = models.CharField(max_length=32)
    state = models.CharField(max_length=16, choices=SignalState.choices, default=SignalState.PENDING)
    reason = models.CharField(max_length=64, blank=True)
    message = models.TextField(blank=True)
    score = models.FloatField(null=True)
    probability = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    labels = models.JSONField(db_default={})
    annotations = models.JSONField(db_default={})
    severity = models.CharField(max_length=32, db_default="")
    started_at = models.DateTimeField(null=True)
    payload = models.JSONField()
    count = models.PositiveIntegerField(default=1)
    recent_reports = models.BigIntegerField(db_default=1)  # those of its problem, when it was last reported
    errors = models.PositiveSmallIntegerField(default=0)
    kept_seconds = models.FloatField(db_default=0)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    holds = models.JSONField(null=True)  # of an ignored, denied or deferred one: signals.holds.Hold
    posted_by = models.CharField(max_length=actors.MAX_LENGTH, db_default="")  # the token that opened it
    reported_by = models.JSONField(default=list, db_default=[])
    traceparent = models.CharField(max_length=55, blank=True, db_default="")  # of the request that opened it

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="admitted")
                | Q(state="pending", closed_at=None)
                | Q(closed_at__isnull=False) & ~Q(state="pending"),
                name="signal_closed_iff_final",
            ),
        ]
        indexes = [
            models.Index(
                fields=["cluster", "posted_by", "namespace", "not_before"],
                condition=Q(state="pending"),
                name="signal_due",
            ),
            models.Index(fields=["cluster", "namespace", "workload", "-id"], name="signal_of_workload"),
            models.Index(fields=["state", "-id"], name="signal_by_state"),
            models.Index(fields=["reason", "-id"], condition=~Q(reason=""), name="signal_by_reason"),
            models.Index(fields=["-id"], condition=Q(naming__isnull=False), name="signal_identified"),
            models.Index(fields=["cluster"], condition=Q(state="denied", holds__isnull=False), name="signal_held"),
            models.Index(
                fields=["cluster", "posted_by"],
                condition=Q(state="pending", reason="TargetUnidentified"),
                name="signal_unidentified",
            ),
        ]
        triggers = [
            triggers.kept(),
            triggers.unchanged(
                "identified_once",
                *("kind", "namespace", "workload"),
                condition="OLD.naming IS NOT NULL OR NEW.naming IS NULL OR OLD.state <> 'pending'",
            ),
            _Transitions(
                name="signal_transitions",
                field="state",
                transitions=[("pending", to) for to in ("admitted", "denied", "ignored", "resolved", "failed")],
            ),
            _announces("announce_stored", pgtrigger.Insert),
            _announces("announce_moved", pgtrigger.Update),
        ]

    # Only on rows that `due` and `lock_due` return.
    rules_version: str
    lasted_seconds: float = 0.0
    settings_version: int

    def __str__(self) -> str:
        return f"{self.source} {self.symptom} of {workload_name(self.kind, self.namespace, self.workload)}"

    @property
    def target(self) -> Target:
        return Target(self.cluster, self.namespace, self.workload, Kind(self.kind))

    @property
    def named(self) -> Named:
        """What it calls its target, until that is identified."""
        source, kind = Source(self.source), Kind(self.kind)
        return Named(source, self.cluster, self.namespace, self.workload, self.named_by, kind)

    @property
    def identification(self) -> str:
        """How its target was identified, in words; empty if it is named as it is."""
        found = self._identified()
        return "" if found is None else found.path

    @property
    def identified_by_alias(self) -> int | None:
        """The id of the alias that says which workload its name stands for; None if the cluster does."""
        found, naming = self._identified(), load_naming(self.naming)
        alias = None if naming is None or found is None or found.how is not How.ALIAS else naming.facts.alias
        return None if alias is None else alias.id

    def _identified(self) -> Identified | None:
        naming = load_naming(self.naming)
        found = None if naming is None else identify(naming.named, naming.facts)
        return found if isinstance(found, Identified) else None

    @property
    def needs_identification(self) -> bool:
        """Whether its name cannot be that of a workload, and stands for none yet."""
        return self.naming is None and not is_identified(self.workload, self.named_by)

    @classmethod
    def due(
        cls,
        cluster: str,
        limit: int,
        without: Iterable[UUID] = (),
        delays: Mapping[tuple[str, Kind], float] = MappingProxyType({}),
    ) -> list["Signal"]:
        """Due signals in their turns of tokens, namespaces and workloads (`queries.OLDEST`), each with its `rules`:
        those that may match it. Those of the namespaces ("*" is all) and kinds in `delays` become due by so many
        seconds later."""
        later = {f"{namespace}/{kind}": seconds for (namespace, kind), seconds in delays.items()}
        for namespace in {namespace for namespace, _ in delays}:
            of_kinds = [delays[namespace, kind] for kind in Kind if (namespace, kind) in delays]
            later |= {namespace: min(of_kinds)} if len(of_kinds) == len(Kind) else {}
        parameters = {
            "first": cls.first_pending(),
            "cluster": cluster,
            "limit": limit,
            "without": list(without),
            "delays": json.dumps(later),
        }
        with generic_plan_transaction():
            return cls._read_due(queries.OLDEST, parameters)

    @classmethod
    def lock_due(cls, ids: Iterable[UUID]) -> list["Signal"]:
        """Those that are still due and that no other process holds, locked until the transaction ends."""
        wanted = list(ids)
        if not wanted:
            return []
        with generic_plan():
            return cls._read_due(queries.LOCKED, {"ids": wanted, "first": min(wanted)})

    @classmethod
    def _read_due(cls, continued: str, parameters: Mapping[str, Any]) -> list["Signal"]:
        """A RawQuerySet costs a millisecond for each statement."""
        with connection.cursor() as cursor:
            cursor.execute(_SELECT_DUE + continued, parameters)
            return [cls._of_due(row) for row in cursor.fetchall()]

    @classmethod
    def _of_due(cls, row: Sequence[Any]) -> "Signal":
        *columns, lasted_seconds, rules_version, settings_version = row
        values = [
            json.loads(value) if is_json and value is not None else value
            for value, is_json in zip(columns, _IS_JSON, strict=True)
        ]
        signal = cls.from_db(DEFAULT_DB_ALIAS, _ATTRIBUTES, values)
        signal.lasted_seconds, signal.rules_version = lasted_seconds, rules_version
        signal.settings_version = settings_version
        return signal

    @cached_property
    def rules(self) -> tuple[RuleSpec, ...]:
        """The enabled rules that what is proposed depends on (`considered`), in the order in which they are tried.
        Raises ValueError if a rule that may be one of them cannot be read."""
        require_readable(self.rules_version, self.source, self.symptom)
        return considered(self.facts(), self.enabled_rules)

    def problem(self) -> Problem | None:
        """All reports of its problem. One query."""
        return Problem.objects.filter(pk=self.fingerprint).first()

    @property
    def enabled_rules(self) -> tuple[RuleSpec, ...]:
        """All of them, in the order in which they are tried."""
        return rules_of(self.rules_version)

    @staticmethod
    def first_pending() -> UUID:
        """No pending signal has a smaller id."""
        return _PENDING()[0]

    @classmethod
    def pending(cls) -> models.QuerySet["Signal"]:
        """All pending signals."""
        return cls.objects.filter(state=SignalState.PENDING, pk__range=_PENDING())

    @staticmethod
    def resolved(ids: Iterable[UUID]) -> list[UUID]:
        """Those of these signals whose problem is over."""
        wanted = list(ids)
        if not wanted:
            return []
        with connection.cursor() as cursor:
            cursor.execute(queries.RESOLVED, {"ids": wanted, "first": min(wanted)})
            return [pk for [pk] in cursor.fetchall()]

    @staticmethod
    def wake(targets: Collection[Target], reasons: Collection[str]) -> None:
        """Makes those pending signals of the workloads due that are deferred for one of these reasons."""
        Signal.close_and_wake((), targets, reasons)

    @staticmethod
    def close_and_wake(
        ended: Collection[UUID], targets: Collection[Target], reasons: Collection[str]
    ) -> dict[UUID, datetime]:
        """Closes the signals of actions that have ended, and wakes those of the workloads. One statement does both, so
        that all rows are locked in one order. Returns when each closed one was first reported."""
        parameters: dict[str, Any] = {
            "first": min([_PENDING()[0], *ended]),
            "ended": list(ended),
            "clusters": [one.cluster for one in targets],
            "kinds": [one.kind for one in targets],
            "namespaces": [one.namespace for one in targets],
            "names": [one.name for one in targets],
            "reasons": list(reasons),
        }
        with generic_plan(), connection.cursor() as cursor:
            cursor.execute(queries.CLOSE_AND_WAKE, parameters)
            return dict(cursor.fetchall())

    def facts(self) -> SignalFacts:
        return SignalFacts(
            id=str(self.pk),
            source=Source(self.source),
            target=self.target,
            symptom=self.symptom,
            last_seen_at=self.last_seen_at,
            resolved=self.resolved_at is not None,
            score=self.score,
            probability=self.probability,
            confidence=self.confidence,
            due_at=self.not_before,
            kept_seconds=self.kept_seconds,
            deferred_for=self.reason,
            labels=self.labels,
            severity=self.severity,
            started_at=self.started_at,
            naming=load_naming(self.naming),
            reported_by=tuple(self.reported_by),
            lasted_seconds=self.lasted_seconds,
            recent_reports=self.recent_reports,
        )


_FIELDS = Signal._meta.concrete_fields
_ATTRIBUTES = [field.attname for field in _FIELDS]
_IS_JSON = [isinstance(field, models.JSONField) for field in _FIELDS]
_SELECT_DUE = queries.SELECT_DUE.format(
    columns=", ".join(f"signal.{field.column}" for field in _FIELDS), bounded=BOUNDED
)


def _oldest_and_newest() -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(queries.PENDING)
        return [pk for [pk] in cursor.fetchall()]


_PENDING = Unended(_oldest_and_newest, before=timedelta(days=1), after=timedelta(days=1))


class Observation(models.Model):
    """One report of a detector about a signal: the beginning of a window (`firing`) or its end. A beginning is `late`
    if it arrived after its end; it changed no signal. `payload`: the body, as the detector sent it: a JSON object with
    the fields of AnomalySignal or RcaSignal (signals/sources)."""

    id = models.UUIDField(primary_key=True, default=uuids.uuid7, editable=False)
    signal = models.ForeignKey(Signal, on_delete=models.PROTECT, related_name="observations", db_constraint=False)
    window_id = models.CharField(max_length=256)
    firing = models.BooleanField()
    late = models.BooleanField(db_default=False)
    payload = models.JSONField()
    posted_by = models.CharField(max_length=actors.MAX_LENGTH)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [are_actors("observation_names_actor", "posted_by")]
        triggers = [triggers.append_only()]

    def __str__(self) -> str:
        return f"{self.window_id} of {self.signal_id}"


class Allowance(models.Model):
    """How much a token may still post (`signals.allowance`). A row for each token that has posted, changed by
    `queries.TAKE` only."""

    name = models.CharField(max_length=actors.MAX_LENGTH, primary_key=True)  # the token, as an actor
    full_at = models.DateTimeField()
    """When the whole rate is available again, unless the token posts before."""
    granted = models.PositiveIntegerField()
    """How many signals of the last post were granted."""
    spare = models.IntegerField()
    """At least so many signals may be opened before they have to be counted again."""

    def __str__(self) -> str:
        return self.name
