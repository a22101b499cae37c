"""Which partitions are old enough to be dropped."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import DateTimeField, Model, Q

from signals.lib.partitions import PARTITION_BY, first_id

# The partitions of a table but its default one, with their bounds, and those of the month that the name ends with.
PARTITIONS = """
    SELECT part.relname, bounds, CASE WHEN month IS NOT NULL THEN format('FOR VALUES FROM (%%L) TO (%%L)',
        smartops_key(key.atttypid, month AT TIME ZONE 'UTC'),
        smartops_key(key.atttypid, (month + interval '1 month') AT TIME ZONE 'UTC')) END
    FROM pg_inherits
    JOIN pg_class part ON part.oid = inhrelid
    JOIN pg_partitioned_table parent ON parent.partrelid = inhparent
    JOIN pg_attribute key ON key.attrelid = inhparent AND key.attnum = parent.partattrs[0],
    LATERAL (SELECT pg_get_expr(part.relpartbound, part.oid) AS bounds,
        to_date(substring(part.relname FROM '_(\\d{4}_(0[1-9]|1[0-2]))$'), 'YYYY_MM')::timestamp AS month) AS named
    WHERE inhparent = %s::regclass AND bounds <> 'DEFAULT' ORDER BY 1
"""
# In the order in which they can be dropped: each refers to later ones. With the setting that has its days.
TABLES = {
    "signals.Observation": "SMARTOPS_RETAIN_OBSERVATIONS_DAYS",
    "orchestrator.Verification": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.Approval": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.AuditEvent": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.DecisionRecord": "SMARTOPS_RETAIN_DECISIONS_DAYS",
    "orchestrator.Action": "SMARTOPS_RETAIN_ACTIONS_DAYS",
    "signals.Signal": "SMARTOPS_RETAIN_SIGNALS_DAYS",
    "signals.SettingChange": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "orchestrator.RefusedRequest": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "smartops.SignIn": "SMARTOPS_RETAIN_AUDIT_DAYS",
    "smartops.AuditExport": "SMARTOPS_RETAIN_AUDIT_DAYS",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """One month of one table. `first` and `last` bound the partition key, a UUID or a time: `first <= key < last`."""

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
    def first(self) -> Any:
        return self._first_key(self.month)

    @property
    def last(self) -> Any:
        return self._first_key(following(self.month))

    def _first_key(self, month: date) -> Any:
        field = self.model._meta.get_field(PARTITION_BY[self.model._meta.label])
        return midnight(month) if isinstance(field, DateTimeField) else first_id(midnight(month))

    def within(self, column: str) -> Q:
        """Whether the column has the key of a row of this month."""
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


class WrongPartitionError(Exception):
    """The message says which partition, what it holds, and what to do."""


def stored(model: type[Model]) -> list[Partition]:
    """The months that the table has partitions of, oldest first. Raises WrongPartitionError if a partition holds
    anything else than the month of its name: somebody else has attached it."""
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS, [model._meta.db_table])
        found = cursor.fetchall()
    for name, bounds, expected in found:
        if bounds != expected:
            table = model._meta.db_table
            wanted = f"Its name requires {expected}." if expected else "Its name does not end with a month."
            raise WrongPartitionError(
                f"{name}, a partition of {table}, has the bounds {bounds}. {wanted} Nothing of {table} is exported or "
                f"dropped. Run ALTER TABLE {table} DETACH PARTITION {name}, insert its rows into {table}, and run "
                "retain again."
            )
    return of_names(model, [name for name, *_ in found])


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
