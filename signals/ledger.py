"""What recognizes a report: its problem, and its window (docs/adr/0041-a-ledger-of-problems-and-windows.md)."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, models

from signals import actors, queries
from signals.lib import triggers
from signals.lib.batches import in_batches
from signals.types import workload_name

BATCH = 20_000  # rows in a transaction: reports of their problems wait for its end


class Problem(models.Model):
    """All that was ever reported of one problem of one workload: a row per fingerprint. Its row lock orders the reports
    of the problem (`signals/migrations/0003_ingest.py`). Repeated posts are not counted."""

    fingerprint = models.CharField(max_length=32, primary_key=True)
    source = models.CharField(max_length=32)
    cluster = models.CharField(max_length=63)
    kind = models.CharField(max_length=32)
    namespace = models.CharField(max_length=63)
    workload = models.CharField(max_length=253)
    symptom = models.CharField(max_length=128)
    signal = models.ForeignKey(
        "signals.Signal", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="+"
    )
    """The open signal, or the closed one that a decision holds on. NULL: neither, so the next report opens a signal.
    A report that finds it closed sets NULL, and so does the retention before it drops the signal's month."""
    firing_count = models.PositiveBigIntegerField(db_default=0)
    firing_at = models.DateTimeField(null=True)
    firing_by = models.CharField(max_length=actors.MAX_LENGTH, db_default="")
    healthy_count = models.PositiveBigIntegerField(db_default=0)
    healthy_at = models.DateTimeField(null=True)
    healthy_by = models.CharField(max_length=actors.MAX_LENGTH, db_default="")
    recent_reports = models.BigIntegerField(db_default=0)
    """The last 60 reports, as bits: the lowest is the latest one, and 1 says that the problem was there."""

    class Meta:
        indexes = [models.Index(fields=["cluster", "namespace", "workload"], name="problem_of_workload")]
        triggers = [triggers.never_truncated()]  # a second signal would open beside each open one

    def __str__(self) -> str:
        return f"{self.source} {self.symptom} of {workload_name(self.kind, self.namespace, self.workload)}"

    @staticmethod
    def forget_signals(first: UUID, last: UUID) -> None:
        """Ends the references to closed signals, `first <= id < last`: their rows are about to be dropped."""
        in_batches(partial(_execute, queries.FORGET_SIGNALS, first, last), BATCH)

    @staticmethod
    def forget(since: datetime) -> int:
        """Deletes those without a signal that were not reported since then. Returns their number. A report that comes
        in between is stored with the problem, or with a new one."""
        return in_batches(partial(_execute, queries.FORGET_PROBLEMS, since), BATCH)


class LastReport(models.IntegerChoices):
    """What the last report of a window was (docs/adr/0035-a-window-is-free-again-after-its-end.md)."""

    BEGINNING = 1
    LATE_BEGINNING = 2
    END = 3
    END_WITHOUT_BEGINNING = 4


class Window(models.Model):
    """The last report of one window of one problem. It recognizes a repeat for a day, and while its signal is open;
    then a reconciler or the retention deletes it. There is one for each window that is reported: the row is as small as
    possible."""

    key = models.UUIDField(primary_key=True)
    """`signals.types.Observation.window_key`"""
    reported_at = models.DateTimeField()
    signal_id = models.UUIDField(null=True)  # NULL: there was none
    last = models.PositiveSmallIntegerField(choices=LastReport.choices)

    def __str__(self) -> str:
        return f"{LastReport(self.last).label} of {self.key}"

    @classmethod
    def forget(cls, batch: int = 50_000) -> int:
        """Deletes those that recognize no repeat any more, so many in a transaction. Returns their number."""
        return in_batches(cls.forget_some, batch)

    @staticmethod
    def forget_some(most: int = BATCH) -> int:
        """The same in one transaction."""
        return _execute(queries.FORGET_WINDOWS, most)


def _execute(statement: str, *parameters: Any) -> int:
    """How many rows it has changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)
