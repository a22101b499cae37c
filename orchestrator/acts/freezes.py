"""Freeze and lift. A hold is a freeze of exactly one workload.

A freeze is in force for every decision that is made after its commit: decisions read the freezes in the statement that
reads the history of the workload.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.db.models.functions import Now

from guardrails.models import Freeze, scope_name
from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot, require_reason
from orchestrator.models import Action, ActionState
from signals.actors import Actor
from signals.figures import second_after
from signals.lib.acting import acting
from signals.models import Signal
from signals.reasons import Reason
from signals.types import Origin, Target
from signals.unidentified import UNIDENTIFIED

MAX_REASON = 256  # characters: it is a column of the freeze
WAITING = (ActionState.PENDING, ActionState.AWAITING_APPROVAL)
ENDS: Mapping[str, tuple[str, timedelta | None]] = {
    "15m": ("15 minutes", timedelta(minutes=15)),
    "1h": ("1 hour", timedelta(hours=1)),
    "4h": ("4 hours", timedelta(hours=4)),
    "lifted": ("until it is lifted", None),
}
"""What a person chooses from: the words, and how long it lasts."""


@dataclass(frozen=True, slots=True)
class FreezeScope:
    """A workload, a namespace, a cluster or everything, of one kind or of all: an empty field means any."""

    cluster: str = ""
    kind: str = ""
    namespace: str = ""
    workload: str = ""

    @classmethod
    def of(cls, target: Target) -> "FreezeScope":
        return cls(target.cluster, target.kind, target.namespace, target.name)

    @classmethod
    def of_freeze(cls, row: Freeze) -> "FreezeScope":
        return cls(row.cluster, row.kind, row.namespace, row.workload)

    @property
    def name(self) -> str:
        return scope_name(self.cluster, self.kind, self.namespace, self.workload)

    @property
    def is_wide(self) -> bool:
        """It is not limited to one namespace."""
        return not self.namespace

    def contains(self, prefix: str = "") -> Q:
        """The condition for rows with the columns of a target. `prefix`: of the columns that are those of a Workload,
        as `workload__`; empty for rows that have all of them."""
        name = f"{prefix}name" if prefix else "workload"
        columns = {"cluster": self.cluster, f"{prefix}kind": self.kind, f"{prefix}namespace": self.namespace}
        return Q(**{column: value for column, value in {**columns, name: self.workload}.items() if value})


@dataclass(frozen=True, slots=True)
class Effect:
    """The rows that a freeze or its end concerns. `waiting` are actions that continue when no freeze covers them;
    `direct` are those that a freeze refuses."""

    signals: QuerySet[Signal]
    waiting: QuerySet[Action]
    direct: QuerySet[Action]


def freeze(scope: FreezeScope, lasts: timedelta | None, by: Actor, reason: str) -> Outcome:
    """No action starts in the scope for so long; None: until it is lifted. Actions whose change is being written or
    verified go on."""
    if (missing := require_reason(reason, "to freeze", MAX_REASON)) is not None:
        return missing
    row = Freeze(**asdict(scope), by=by, reason=reason)
    try:
        row.full_clean()
    except ValidationError as error:
        fields = {name: " ".join(messages) for name, messages in error.message_dict.items()}
        return NotDone(WhyNot.INVALID, " ".join(fields.values()), fields)
    if lasts is not None:
        row.until = Now() + lasts
    with acting(by, reason=reason):
        row.save(force_insert=True)
    row.refresh_from_db()
    return Done(f"Frozen: {scope.name}, {_end(row)}.")


def hold(target: Target, lasts: timedelta | None, by: Actor, reason: str) -> Outcome:
    """A freeze of exactly this workload."""
    return freeze(FreezeScope.of(target), lasts, by, reason)


def lift(pk: int, by: Actor, reason: str) -> Outcome:
    """A trigger makes the signals due that waited for it, and each reconciler does the same for signals and actions
    within a second (`wake_freed`)."""
    if (missing := require_reason(reason, "to lift a freeze", MAX_REASON)) is not None:
        return missing
    with transaction.atomic(), acting(by, reason=reason):
        row = Freeze.objects.filter(pk=pk).first()
        if row is None:
            return NotDone(WhyNot.GONE, "There is no such freeze.")
        if row.lift(by, reason):
            return Done(f"Lifted: the {row}.")
        row.refresh_from_db()
    return NotDone(WhyNot.CHANGED, f"{row.lifted_by} has lifted the {row} already: {row.lift_reason}")


def would_hold(scope: FreezeScope) -> Effect:
    """What waits in the scope now, and would wait for the end of a freeze. A signal whose name stands for no workload
    yet is in no scope."""
    signals = Signal.pending().filter(scope.contains()).exclude(UNIDENTIFIED)
    actions = Action.of_active_months().filter(scope.contains("workload__"), state__in=WAITING)
    return Effect(signals, actions.exclude(origin=Origin.DIRECT), actions.filter(origin=Origin.DIRECT))


def would_start(freeze: Freeze) -> Effect:
    """What waits for this freeze alone: it is decided on as soon as the freeze is lifted. Another guardrail may still
    refuse it."""
    waiting = Action.of_active_months().filter(waits_for(freeze, "workload__"))
    return Effect(Signal.pending().filter(waits_for(freeze)), waiting, waiting.none())


def waits_for(freeze: Freeze, prefix: str = "") -> Q:
    """The condition for signals and actions that wait for this freeze alone. `prefix`: as in `FreezeScope.contains`."""
    others = Freeze.over_rows(prefix, "name" if prefix else "workload").exclude(pk=freeze.pk)
    held = Q(state=ActionState.PENDING, reason=Reason.FROZEN)  # signals and actions use the same values
    return held & FreezeScope.of_freeze(freeze).contains(prefix) & ~Q(Exists(others))


def _end(row: Freeze) -> str:
    return "until it is lifted" if row.until is None else f"until {second_after(row.until):%Y-%m-%d %H:%M:%S} UTC"
