"""This process's hold on the cursor of one publisher."""

from collections.abc import Callable
from typing import TypeVar

from django.db import connection

from orchestrator.models.publishing import LEASE, PublisherCursor
from orchestrator.publish import timeline

T = TypeVar("T")

RENEW = LEASE.total_seconds() / 3


class Cursor:
    """`xid` is the position as this process knows it to be stored, None while another process has the lease. Between
    `renew_at` (by `clock`) and the end of the lease there is time for two calls of the publisher."""

    def __init__(self, cluster: str, publisher: str, process: str, clock: Callable[[], float]) -> None:
        self._key, self._process, self._clock = (cluster, publisher), process, clock
        self.xid: int | None = None
        self.renew_at = 0.0

    def begin(self) -> None:
        """A new publisher begins with what is recorded from now on."""
        query(lambda: PublisherCursor.begin(*self._key, timeline.end()))

    def take(self) -> bool:
        """Takes the lease if it is free. A missing cursor was deleted, or could not be made at the start."""
        self.renew_at = self._clock() + RENEW
        self.xid = query(lambda: PublisherCursor.lease(*self._key, self._process))
        if self.xid is None:
            self.begin()
        return self.xid is not None

    def move(self, xid: int) -> bool:
        """Stores the position and renews the lease. False: another process has taken it."""
        self.renew_at = self._clock() + RENEW
        known = self.xid or 0
        moved = query(lambda: PublisherCursor.move(*self._key, self._process, known, xid))
        self.xid = xid if moved else None
        return moved

    def release(self) -> None:
        query(lambda: PublisherCursor.release(*self._key, self._process))


def query(run: Callable[[], T]) -> T:
    """Gives the connection back to the pool: the publisher's next request may take seconds."""
    try:
        return run()
    finally:
        connection.close()
