"""Drops a partition that has been exported, if it is still what was exported."""

from django.db import connection, transaction

from orchestrator.models import Action, IdempotencyKey
from signals.models import Problem, Signal
from smartops.retention.export import Manifest
from smartops.retention.months import Partition, kept_by

# Which versions of which rows the partition has: any change to it changes this.
VERSIONS = """
    SELECT count(*), coalesce(bit_xor(hashtextextended(ctid::text || xmin::text, 0)), 0) FROM {}
"""
# What waits for the lock of the table makes everything else wait that needs the table. Shorter than `deadlock_timeout`
# (1 s): where a transaction waits for this one, which waits for it, this one ends.
LIMIT = "SET LOCAL lock_timeout = '500ms'"


class Changed(Exception):  # noqa: N818 - it is exported again in the next run
    pass


def versions(partition: Partition) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(VERSIONS.format(partition.name))
        count, digest = cursor.fetchone()
    return int(count), int(digest)


def drop(partition: Partition, manifest: Manifest, exported: tuple[int, int]) -> None:
    """`exported`: the versions before the export. Raises Changed if a row was written or referred to since then.
    DROP needs the whole table for itself, and so its readers and writers wait from the LOCK to the end. Who locked the
    partition first could not get the table from a transaction that waits for the partition."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LIMIT)
        if partition.model is Signal:  # problems are locked before signals, as everywhere
            Problem.forget_signals(partition.first, partition.last)
        cursor.execute(f"LOCK TABLE ONLY {partition.table} IN ACCESS EXCLUSIVE MODE")
        if versions(partition) != exported or exported[0] != manifest.rows:
            raise Changed(f"{partition} has changed since its export.")
        if reason := kept_by(partition):
            raise Changed(f"{partition} is needed: {reason}.")
        if partition.model is Action:
            IdempotencyKey.objects.filter(partition.within("action_id")).delete()
        cursor.execute(f"DROP TABLE {partition.name}")
