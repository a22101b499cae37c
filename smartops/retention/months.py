"""Which partitions are old enough to be dropped, and what still refers to their rows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import ForeignKey, Model, Q

from orchestrator.models import ActiveAction, IdempotencyKey
from signals.lib.partitions import PARTITION_BY, first_id
from signals.models import Signal

PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1"
# In the order in which they can be dropped: each refers to later ones. With the setting that has its days.
TABLES = {
    "orchestrator.Verification": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.AuditEvent": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.DecisionRecord": "SMARTOPS_RETAIN_DECISIONS_DAYS",
    "orchestrator.Action": "SMARTOPS_RETAIN_ACTIONS_DAYS",
}
MANY = 1000  # more are not counted
DELETED_WITH = (IdempotencyKey,)  # rows of an action that end with it


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
        names = [str(name) for [name] in cursor.fetchall()]
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
    return next(_references(partition), "")


def _references(partition: Partition) -> Iterator[str]:
    if count := _open_rows(partition):
        yield f"{_number(count)} rows belong to an active action or an open signal"
    for model in apps.get_models():
        for field in model._meta.local_fields:
            refers = isinstance(field, ForeignKey) and field.related_model is partition.model
            if not refers or model in DELETED_WITH:
                continue
            bounds = {f"{field.attname}__gte": partition.first, f"{field.attname}__lt": partition.last}
            if count := model._default_manager.filter(**bounds)[:MANY].count():
                yield f"{_number(count)} rows of {model._meta.db_table} refer to it"


def _open_rows(partition: Partition) -> int:
    """How many rows of the partition belong to what has not ended: the next transition needs them, or adds to them."""
    fields = {field.name for field in partition.model._meta.local_fields}
    is_open = {
        "action": Q(action__in=ActiveAction.objects.values("action")),
        "signal": Q(signal__in=Signal.objects.filter(closed_at=None).values("pk")),
    }
    wanted = Q.create([is_open[name] for name in is_open if name in fields], connector=Q.OR)
    bounds = {f"{partition.key}__gte": partition.first, f"{partition.key}__lt": partition.last}
    return partition.model._default_manager.filter(wanted, **bounds)[:MANY].count()


def _number(count: int) -> str:
    return str(count) if count < MANY else f"{MANY:,} or more"
