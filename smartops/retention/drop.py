"""Drops a partition that has been exported, if it is still what was exported.

No other session waits for more than an instant: the partition is detached first, which needs the whole table for
itself, and then compared. Nobody can write to it any more, as processes reach partitions through their table only.
A partition that has changed, or that an interrupted run has left detached, is attached again.
"""

import re
import time

from django.db import OperationalError, connection, transaction
from django.db.models import Model

from orchestrator.models import Action, IdempotencyKey
from signals.models import Problem, Signal
from smartops.retention.export import Manifest
from smartops.retention.kept import referred_by
from smartops.retention.months import Partition, midnight, of_names, stored

# Which versions of which rows the partition has: any change to it changes this.
VERSIONS = """
    SELECT count(*), coalesce(bit_xor(hashtextextended(ctid::text || xmin::text, 0)), 0) FROM {}
"""
# What waits for the lock of the table makes everything else wait that needs the table. Shorter than `deadlock_timeout`
# (1 s): where a transaction waits for this one, which waits for it, this one ends.
LIMIT = "SET LOCAL lock_timeout = '500ms'"
ATTEMPTS, PAUSE = 20, 1.0  # to attach it again, and seconds between two: stuck sessions end before the last one
REFERRED = (
    "SELECT DISTINCT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"
)
DETACHED = "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname ~ %s ORDER BY relname"
# With the constraint, ATTACH need not read the rows.
CHECKED = """
    ALTER TABLE {0.name} DROP CONSTRAINT IF EXISTS of_its_month,
        ADD CONSTRAINT of_its_month CHECK ({0.key} >= '{0.first}' AND {0.key} < '{0.last}')
"""
CREATE = "SELECT smartops_create_partition(%s, %s, %s)"
ATTACH = "ALTER TABLE {0.table} ATTACH PARTITION {0.name} FOR VALUES FROM ('{0.first}') TO ('{0.last}')"


class Changed(Exception):  # noqa: N818 - it is exported again in the next run
    pass


class DetachedError(Exception):
    """The message says which month is not visible, and what to do."""


def versions(partition: Partition) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(VERSIONS.format(partition.name))
        count, digest = cursor.fetchone()
    return int(count), int(digest)


def drop(partition: Partition, manifest: Manifest, exported: tuple[int, int]) -> None:
    """`exported`: the versions before the export. Nothing was open in them, and what has ended does not begin again.
    Raises Changed if a row was written or referred to since then, and DetachedError if it cannot be attached again."""
    _detach(partition)
    try:
        if change := _change(partition, manifest, exported):
            raise Changed(change)
        if partition.model is Signal:
            Problem.forget_signals(partition.first, partition.last)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(LIMIT)  # to drop the foreign key of an action, DROP needs the table of workloads for itself
            cursor.execute(f"DROP TABLE {partition.name}")
    except Exception:
        _attach_again(partition)
        raise
    if partition.model is Action:  # before, an action that stays could be requested again with its key
        IdempotencyKey.forget_actions(partition.first, partition.last)


def _change(partition: Partition, manifest: Manifest, exported: tuple[int, int]) -> str:
    """Why the partition stays; empty if it can be dropped."""
    if versions(partition) != exported or exported[0] != manifest.rows:
        return f"{partition} has changed since its export."
    reason = referred_by(partition)
    return f"{partition} is needed: {reason}." if reason else ""


def detached(model: type[Model]) -> list[Partition]:
    """The months that an interrupted run has detached, and not dropped."""
    with connection.cursor() as cursor:
        cursor.execute(DETACHED, [rf"^{re.escape(model._meta.db_table)}_\d{{4}}_\d\d$"])
        return of_names(model, [name for [name] in cursor.fetchall()])


def oldest(model: type[Model]) -> Partition | None:
    """The oldest month of the table, also if an interrupted run has detached it."""
    return min([*stored(model), *detached(model)], key=lambda one: one.month, default=None)


def create(partition: Partition) -> None:
    """A month that is missing among others, without rows."""
    with connection.cursor() as cursor:
        cursor.execute(CREATE, [partition.table, partition.key, midnight(partition.month).replace(tzinfo=None)])


def attach(partition: Partition) -> None:
    with connection.cursor() as cursor:
        with transaction.atomic():
            cursor.execute(CHECKED.format(partition))
        with transaction.atomic():
            cursor.execute(LIMIT)
            cursor.execute(ATTACH.format(partition))
            cursor.execute(f"ALTER TABLE {partition.name} DROP CONSTRAINT of_its_month")


def _attach_again(partition: Partition) -> None:
    """The lock that was in the way of DROP may be in the way of ATTACH, too."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            attach(partition)
            break
        except OperationalError as error:
            if attempt == ATTEMPTS:
                cause = str(error).splitlines()[0]
                raise DetachedError(
                    f"{partition.name} is detached from {partition.table}, and cannot be attached again: {cause}. "
                    "Its rows are not visible. Run `manage.py retain` again: it attaches the table."
                ) from error
            time.sleep(PAUSE)


def _detach(partition: Partition) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LIMIT)
        cursor.execute(REFERRED, [partition.name])
        for [table] in cursor.fetchall():  # DROP and ATTACH need them: a session that has locked one is in the way
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"ALTER TABLE {partition.table} DETACH PARTITION {partition.name}")
