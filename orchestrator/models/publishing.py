"""How far each publisher has read the timeline of a cluster, and which process reads for it."""

from datetime import timedelta

from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Cast, Now

LEASE = timedelta(seconds=30)  # longer than a call to a sink may take

# The id of the inserting transaction, on each row that publishers read. Ids of a sequence would not do: a transaction
# may take a smaller one and commit later. See orchestrator/publish/timeline.py.
CURRENT_XID = Cast(Cast(Func(function="pg_current_xact_id"), models.TextField()), models.BigIntegerField())


class PublisherCursor(models.Model):
    """All entries of transactions up to `xid` have been published. One process at a time reads for a publisher: the
    one that holds the lease, by the database's clock. The lease avoids duplicates. It does not protect the cursor:
    each of its moves is a compare-and-set on `leased_by` and `xid`."""

    cluster = models.CharField(max_length=63)
    publisher = models.CharField(max_length=63)
    xid = models.BigIntegerField()
    leased_by = models.CharField(max_length=128, blank=True)  # a process; empty: nobody
    lease_until = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "publisher"], name="one_cursor_per_publisher")]

    def __str__(self) -> str:
        return f"{self.publisher} of {self.cluster}: {self.xid}"

    @classmethod
    def begin(cls, cluster: str, publisher: str, xid: int) -> None:
        """Where there is none yet: `xid` is the last transaction that is not to be published."""
        if not cls.objects.filter(cluster=cluster, publisher=publisher).exists():
            first = PublisherCursor(cluster=cluster, publisher=publisher, xid=xid)
            PublisherCursor.objects.bulk_create([first], ignore_conflicts=True)

    @classmethod
    def lease(cls, cluster: str, publisher: str, process: str) -> int | None:
        """Takes the lease, and returns how far the publisher has read; None while another process holds it."""
        row = cls.objects.filter(cluster=cluster, publisher=publisher)
        free = Q(leased_by=process) | Q(lease_until__lte=Now())
        if not row.filter(free).update(leased_by=process, lease_until=Now() + LEASE):
            return None
        return row.filter(leased_by=process).values_list("xid", flat=True).first()

    @classmethod
    def move(cls, cluster: str, publisher: str, process: str, known: int, xid: int) -> bool:
        """Stores how far the process has published since `known`, and prolongs its lease. False: it lost the lease."""
        row = cls.objects.filter(cluster=cluster, publisher=publisher, leased_by=process, xid=known)
        return bool(row.update(xid=xid, lease_until=Now() + LEASE))

    @classmethod
    def release(cls, cluster: str, publisher: str, process: str) -> None:
        row = cls.objects.filter(cluster=cluster, publisher=publisher, leased_by=process)
        row.update(leased_by="", lease_until=Now())
