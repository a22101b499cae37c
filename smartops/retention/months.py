"""Which partitions are old enough to be dropped, and what still refers to their rows."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import ForeignKey, Model, Q
from django.db.models.functions import Now

from orchestrator.models import Action, ActiveAction, IdempotencyKey
from signals.lib.partitions import PARTITION_BY, first_id
from signals.models import Problem, Signal

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1"
# In the order in which they can be dropped: each refers to later ones. With the setting that has its days.
TABLES = {
    "signals.Observation": "SMARTOPS_RETAIN_OBSERVATIONS_DAYS",
    "orchestrator.Verification": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.Approval": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.AuditEvent": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.DecisionRecord": "SMARTOPS_RETAIN_DECISIONS_DAYS",
    "orchestrator.Action": "SMARTOPS_RETAIN_ACTIONS_DAYS",
    "signals.Signal": "SMARTOPS_RETAIN_SIGNALS_DAYS",
}
MANY = 1000  # more are not counted
# A decision holds for a day at most after it has closed its signal, and a report of that day is known for another day:
# until then, reports are counted on the signal, or refer to it.
REPORTED_FOR = timedelta(days=2)
RELEASED = (IdempotencyKey, Problem)  # what refers to the rows and does not keep them: `drop` ends the references


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of one table. `first` and `last` bound the partition key: `first <= key < last`."""

    model: type[Model]
    month: date

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def name(self) -> str:
        return f"{self.table}{self.month:_%Y_%m}"

    @property
    def key(self) -> str:
        return column_of(self.model)

    @property
    def first(self) -> UUID:
        return first_id(midnight(self.month))

    @property
    def last(self) -> UUID:
        return first_id(midnight(following(self.month)))

    def within(self, column: str) -> Q:
        """Whether the column has an id of a row of this month."""
        return Q(**{f"{column}__gte": self.first, f"{column}__lt": self.last})

    def __str__(self) -> str:
        return f"{self.table} of {self.month:%Y-%m}"


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def column_of(model: type[Model]) -> str:
    """The partition key of the table."""
    name = PARTITION_BY[model._meta.label]
    return next(str(field.column) for field in model._meta.local_fields if field.name == name)


def stored(model: type[Model]) -> list[Partition]:
    """The months that the table has partitions of, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS, [model._meta.db_table])
        return of_names(model, [str(name) for [name] in cursor.fetchall()])


def of_names(model: type[Model], names: Iterable[str]) -> list[Partition]:
    found = [re.search(r"_(\d{4})_(\d\d)$", name) for name in names]
    return [Partition(model, date(int(one[1]), int(one[2]), 1)) for one in found if one is not None]


def due(partitions: Sequence[Partition], days: int, now: datetime) -> list[Partition]:
    """Those whose youngest row may be at least so many days old."""
    return [one for one in partitions if (now - midnight(following(one.month))).days >= days]


def retention(label: str) -> int:
    """In days."""
    days: int = getattr(settings, TABLES[label])
    return days


def kept_by(partition: Partition) -> str:
    """What is still open in the partition, or refers to one of its rows; empty if nothing."""
    if count := _open_rows(partition):
        return f"{_number(count)} rows belong to an active action, or to a signal that is open or was closed lately"
    return referred_by(partition)


def referred_by(partition: Partition) -> str:
    """What refers to one of its rows; empty if nothing."""
    return next(_references(partition), "")


def _references(partition: Partition) -> Iterator[str]:
    for model in apps.get_models():
        for field in model._meta.local_fields:
            refers = isinstance(field, ForeignKey) and field.related_model is partition.model
            if not refers or model in RELEASED:
                continue
            if count := model._default_manager.filter(partition.within(field.attname))[:MANY].count():
                yield f"{_number(count)} rows of {model._meta.db_table} refer to it"


def _open_rows(partition: Partition) -> int:
    """How many rows of the partition belong to what has not ended: the next transition needs them, or adds to them."""
    fields = {field.name for field in partition.model._meta.local_fields}
    active = ActiveAction.objects.values("action")
    # An admitted signal is open while its action is active.
    of_open_signal = Q(signal__in=Signal.pending().values("pk"))
    of_open_signal |= Q(signal__in=Action.recent().filter(pk__in=active, signal__isnull=False).values("signal"))
    is_open = {
        "action": Q(action__in=active),
        "signal": of_open_signal,
        "closed_at": Q(closed_at=None) | Q(closed_at__gt=Now() - REPORTED_FOR),
    }
    wanted = Q.create([is_open[name] for name in is_open if name in fields], connector=Q.OR)
    return partition.model._default_manager.filter(wanted, partition.within(partition.key))[:MANY].count()


def _number(count: int) -> str:
    return str(count) if count < MANY else f"{MANY:,} or more"
