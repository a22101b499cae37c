"""Reads the timeline of a cluster: the transitions of its actions, and its decisions that led to no action.

A cursor over ids of a sequence would miss rows: a transaction may draw a smaller id and commit later. So each row has
the id of its transaction (`xid`), and only transactions below the oldest one that is still running (the snapshot's
xmin) are read: no row can appear among them any more. Entries are read by whole transactions, ordered by xid, so that
one number is the cursor. A long write transaction anywhere on the PostgreSQL server therefore delays entries; it never
loses one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F, OuterRef, Subquery, TextField, Value
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, NullIf

from orchestrator.models import AuditEvent, DecisionRecord
from orchestrator.publish.types import DecisionEntry, Entry, TransitionEntry
from signals.types import Kind, Target

_NEXT = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"  # a transaction that has not begun
_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"  # the oldest running transaction, or the next one
# The first rows after the cursor. What a restored dump brought along may be ahead of the server: it is not read yet.
_UNREAD = f"""
    WITH unread AS (
        (SELECT xid, at FROM orchestrator_auditevent WHERE xid > %(after)s AND xid < {_NEXT}
         ORDER BY xid LIMIT %(limit)s)
        UNION ALL
        (SELECT xid, created_at FROM orchestrator_decisionrecord
            WHERE xid > %(after)s AND xid < {_NEXT} AND action_id IS NULL
         ORDER BY xid LIMIT %(limit)s)
        ORDER BY xid LIMIT %(limit)s
    )
    SELECT {_HORIZON}, clock_timestamp(), max(xid) FILTER (WHERE xid < {_HORIZON}), min(at), count(*) FROM unread
"""  # noqa: S608 - it is composed of constants


@dataclass(frozen=True, slots=True)
class Page:
    """What follows the cursor. `xid` is the cursor after the last of the entries, None where nothing can be read yet.
    `oldest` is the time of the first entry after the cursor, readable or not; None: there is none. `now` is the time
    of the database. `more`: another page can follow at once. `restored`: the cursor is ahead of the database."""

    entries: tuple[tuple[int, Entry], ...]  # with the xid of each
    xid: int | None
    oldest: datetime | None
    now: datetime
    more: bool = False
    restored: bool = False


def end() -> int:
    """The cursor behind which all entries are that can be read now."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_HORIZON}")
        return int(cursor.fetchone()[0]) - 1


def read(cluster: str, after: int, limit: int = 200) -> Page:
    """The entries of the transactions that follow `after`: about `limit` rows, and as many more as their last
    transaction has."""
    with connection.cursor() as cursor:
        cursor.execute(_UNREAD, {"after": after, "limit": limit})
        horizon, now, xid, oldest, count = cursor.fetchone()
    if after >= horizon:
        return Page((), None, oldest, now, restored=True)
    if xid is None:
        return Page((), None, oldest, now)
    rows: list[tuple[int, Entry]] = [*_transitions(cluster, after, xid), *_decisions(cluster, after, xid)]
    rows.sort(key=lambda row: (row[0], row[1].at))  # stable: equal times stay in the order of their ids
    return Page(tuple(rows), xid, oldest, now, more=count == limit)


def _transitions(cluster: str, after: int, xid: int) -> Iterator[tuple[int, TransitionEntry]]:
    rows = AuditEvent.objects.filter(xid__gt=after, xid__lte=xid, action__cluster=cluster).order_by("xid", "id")
    own = ("xid", "at", "action_id", "from_state", "to_state", "reason", "message", "actor")
    of_action = ("signal_id", "type", "requested_by", "justification", "dry_run", "before", "change")
    of_workload = ("namespace", "name", "kind")
    columns = {name: F(f"action__{name}") for name in of_action}
    columns |= {name: F(f"action__workload__{name}") for name in of_workload}
    for row in rows.values(*own, **columns, event_id=F("id"), uid=_uid()):
        target = Target(cluster, row.pop("namespace"), row.pop("name"), Kind(row.pop("kind")))
        row |= {"before": row["before"] or {}, "change": row["change"] or {}}
        yield row.pop("xid"), TransitionEntry(target=target, **row)


def _uid() -> Coalesce:
    """The uid of the planned target. Where a plan was given up or never made, the one of the last decision that had
    read the target."""
    decisions = DecisionRecord.objects.filter(action=OuterRef("action_id"), xid__lte=OuterRef("xid"))
    read = KeyTextTransform("uid", KeyTransform("target", KeyTransform("facts", "inputs")))
    last = decisions.annotate(uid=read).filter(uid__isnull=False).order_by("-id").values("uid")[:1]
    return Coalesce(NullIf("action__planned_uid", Value("")), Subquery(last), Value(""), output_field=TextField())


def _decisions(cluster: str, after: int, xid: int) -> Iterator[tuple[int, DecisionEntry]]:
    rows = DecisionRecord.objects.filter(cluster=cluster, xid__gt=after, xid__lte=xid, action=None)
    columns = ("xid", "signal_id", "outcome", "reason", "message", "inputs")
    for row in rows.order_by("xid", "id").values(*columns, at=F("created_at"), decision_id=F("id")):
        yield row.pop("xid"), DecisionEntry(**row)
