"""Monthly partitions of the tables that grow: ranges of UUIDv7 ids, which begin with their time in milliseconds, or of
a time.

Each such table is created with a default partition, so that no insert fails for a missing one. `create_ahead` creates
the partitions of this month and the next ones. (docs/adr/0046-monthly-partitions.md)
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import CreateModel
from django.db.models import Model
from django.utils import timezone

# The partitioned models, with the field that is the partition key.
PARTITION_BY = {
    "signals.Signal": "id",
    "signals.Observation": "id",
    "orchestrator.Action": "id",
    "orchestrator.DecisionRecord": "id",
    "orchestrator.AuditEvent": "action",
    "orchestrator.Verification": "action",
    "orchestrator.Approval": "action",
    "signals.SettingChange": "at",
    "orchestrator.RefusedRequest": "hour",
    "smartops.SignIn": "at",
    "smartops.AuditExport": "at",
}

# An action counts in the decisions on its workload for so long after it was requested.
COUNTED_FOR = timedelta(days=35)


class CreatePartitionedModel(CreateModel):
    """CreateModel of a table that is partitioned by the field `partition_by`, a UUIDv7 or a time.

    A unique key of a partitioned table contains its partition key. So the primary key of a table that is partitioned by
    another field has both columns. Its sequence keeps the ids unique.
    """

    def __init__(self, *arguments: Any, partition_by: str, **options: Any) -> None:
        self.partition_by = partition_by
        super().__init__(*arguments, **options)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        plain = schema_editor.table_sql
        schema_editor.table_sql = partial(self._table_sql, plain)  # type: ignore[method-assign]
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.table_sql = plain  # type: ignore[method-assign]
        table = to_state.apps.get_model(app_label, self.name)._meta.db_table
        schema_editor.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT", params=None)

    def deconstruct(self) -> Any:
        name, arguments, options = super().deconstruct()
        return name, arguments, {**options, "partition_by": self.partition_by}

    def _table_sql(
        self, plain: Callable[[type[Model]], tuple[str, list[Any]]], model: type[Model]
    ) -> tuple[str, list[Any]]:
        sql, parameters = plain(model)
        columns = {field.name: field.column for field in model._meta.local_fields}
        key, own = columns[self.partition_by], model._meta.pk.column
        if key != own:
            sql = f"{sql.replace(' PRIMARY KEY', '', 1).removesuffix(')')}, PRIMARY KEY ({own}, {key}))"
        return f"{sql} PARTITION BY RANGE ({key})", parameters


def first_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of that moment: the primary key is the index on time, and the partition key."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def time_of(id_: UUID) -> datetime:
    """When the UUIDv7 was made, in milliseconds."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=id_.int >> 80)


# Of the id of a partitioned table: PostgreSQL leaves out the partitions of the months before. There is no upper bound:
# in a range whose ends are not known yet, it expects so few rows that it reads all of them, in place of an index.
BOUNDED = ">= %(first)s"


class Unended:
    """Between which ids all rows are that have not ended, of a table whose rows begin with an id of that moment and do
    not begin again after their end. By these bounds PostgreSQL leaves out the partitions of other months.

    `find` reads the ids of the oldest and of the newest one. What it found holds for `SECONDS`: in that time rows end,
    and others begin. So their ids are up to `before` and `after` now, also if the clock of the process that began them
    differs by less. One whose clock differs by more is found at the next time."""

    SECONDS = 10.0
    _all: ClassVar[list["Unended"]] = []

    def __init__(self, find: Callable[[], Iterable[UUID]], before: timedelta, after: timedelta) -> None:
        self._find, self._before, self._after = find, before, after
        self._known = (0.0, (UUID(int=0), UUID(int=0)))  # until when, and the bounds
        self._all.append(self)

    def __call__(self) -> tuple[UUID, UUID]:
        until, bounds = self._known
        if until <= time.monotonic():
            until, now = time.monotonic() + self.SECONDS, timezone.now()
            ids = [first_id(now - self._before), first_id(now + self._after), *self._find()]
            bounds = min(ids), max(ids)
            self._known = until, bounds
        return bounds

    @classmethod
    def forget_all(cls) -> None:
        """Each reads again at its next call."""
        for one in cls._all:
            one._known = (0.0, one._known[1])


@contextmanager
def generic_plan_transaction() -> Iterator[None]:
    """A transaction in which every statement has a generic plan, as in `generic_plan`. Its end resets the mode."""
    ends_mode = not connection.in_atomic_block
    with transaction.atomic(), generic_plan(reset=not ends_mode):
        yield


@contextmanager
def generic_plan(*, reset: bool = True, lock_timeout: str = "") -> Iterator[None]:
    """For a statement in a transaction that bounds the ids by parameters. PostgreSQL makes one plan of it per session,
    for all partitions, and leaves most of them out when it begins to execute the plan. By itself it would make a plan
    each time, for these parameters, which takes longer than the execution. Behind a pooler it does, as nothing is
    prepared there. Around several such statements it costs two round trips in all: one within another costs none.
    `reset=False`: nothing follows in the transaction, whose end resets the mode; this saves a round trip.
    `lock_timeout`: no statement in the rest of the transaction waits longer for a lock; setting it costs no other round
    trip."""
    session: Any = connection.connection
    threshold = session.prepare_threshold if connection.in_atomic_block else None
    limits = {"lock_timeout": lock_timeout} if lock_timeout else {}
    if not threshold:
        _set_local(limits)
        yield
        return
    _set_local({"plan_cache_mode": "force_generic_plan", **limits})
    session.prepare_threshold = 0
    try:
        yield
    finally:
        session.prepare_threshold = threshold
    if reset:
        _set_local({"plan_cache_mode": "auto"})


def custom_plans() -> None:
    """For statements of the rest of the transaction that read a page of a long range of ids. A generic plan supposes
    that a range has few rows, whichever it is: it reads and sorts all of them, and leaves out those after the page."""
    _set_local({"plan_cache_mode": "force_custom_plan"})


def _set_local(settings: Mapping[str, str]) -> None:
    """For the rest of the transaction."""
    if settings:
        calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}", [part for setting in settings.items() for part in setting])


def create_ahead(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Creates the partitions of this month and of the next three where they are missing, and returns their names. Rows
    of the default partition that belong to a new one move there."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT smartops_create_partitions()")
        return [name for [name] in cursor.fetchall()]


def limit_lock_waits(using: str, **_: Any) -> None:
    """Before `migrate`. What waits for the lock of a table makes everything else wait that needs the table."""
    with connections[using].cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")


def create_after_migrate(using: str, plan: Any = None, **_: Any) -> None:
    """`flush` has no plan, and leaves the partitions alone."""
    if plan is not None:
        create_ahead(using)
        with connections[using].cursor() as cursor:
            cursor.execute("RESET lock_timeout")
