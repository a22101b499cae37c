"""Reads the timeline of a cluster: the transitions of its actions, and its decisions that led to no action.

A cursor over ids of a sequence would miss rows: a transaction may draw a smaller id and commit later. So each row has
the id of its transaction (`xid`), and only transactions below the oldest one that is still running (the snapshot's
xmin) are read: no row can appear among them any more. Entries are read by whole transactions, ordered by xid, so that
one number is the cursor. A long write transaction anywhere on the PostgreSQL server therefore delays entries; it never
loses one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.fields.json import KeyTextTransform, KeyTransform

from orchestrator.models import Action, AuditEvent, DecisionRecord
from orchestrator.publish.types import DecisionEntry, Entry, TransitionEntry
from signals.types import Kind, Target

_NEXT = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"  # a transaction that has not begun
_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"  # the oldest running transaction, or the next one
# The first rows after the cursor, and the others of the last of their transactions. The least and the greatest of their
# partition keys say in which months the rows are. What a restored dump brought along may be ahead of the server: it is
# not read yet.
_UNREAD = f"""
    WITH unread AS (
        (SELECT xid, at, action_id AS key FROM orchestrator_auditevent WHERE xid > %(after)s AND xid < {_NEXT}
         ORDER BY xid FETCH FIRST (%(limit)s) ROWS WITH TIES)
        UNION ALL
        (SELECT xid, created_at, id FROM orchestrator_decisionrecord
            WHERE xid > %(after)s AND xid < {_NEXT} AND action_id IS NULL
         ORDER BY xid FETCH FIRST (%(limit)s) ROWS WITH TIES)
        ORDER BY xid FETCH FIRST (%(limit)s) ROWS WITH TIES
    )
    SELECT {_HORIZON}, clock_timestamp(), max(xid) FILTER (WHERE xid < {_HORIZON}), min(at), count(*),
        coalesce(max(xid) >= {_HORIZON}, false), min(key::text)::uuid, max(key::text)::uuid
    FROM unread
"""  # noqa: S608 - it is composed of constants


@dataclass(frozen=True, slots=True)
class Page:
    """What follows the cursor. `xid` is the cursor after the last of the entries, None where nothing can be read yet.
    `oldest` is the time of the first entry after the cursor, readable or not; None: there is none. `now` is the time
    of the database. `more`: another page can follow at once. `held_back`: an entry follows that cannot be read yet.
    `restored`: the cursor is ahead of the database. `unreadable`: why entries of an action are missing, for each such
    action."""

    entries: tuple[tuple[int, Entry], ...]  # with the xid of each
    xid: int | None
    oldest: datetime | None
    now: datetime
    more: bool = False
    held_back: bool = False
    restored: bool = False
    unreadable: tuple[str, ...] = ()


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
        horizon, now, xid, oldest, count, held_back, *keys = cursor.fetchone()
    if after >= horizon:
        return Page((), None, oldest, now, restored=True)
    if xid is None:
        return Page((), None, oldest, now, held_back=held_back)
    unread = {"xid__gt": after, "xid__lte": xid}
    transitions, unreadable = _transitions(cluster, unread, keys)
    rows: list[tuple[int, Entry]] = [*transitions, *_decisions(cluster, unread, keys)]
    rows.sort(key=lambda row: (row[0], row[1].at))  # stable: equal times stay in the order of their ids
    return Page(tuple(rows), xid, oldest, now, count >= limit, held_back, unreadable=tuple(unreadable))


def _transitions(
    cluster: str, unread: Mapping[str, int], keys: Sequence[UUID]
) -> tuple[Iterator[tuple[int, TransitionEntry]], list[str]]:
    events = AuditEvent.objects.filter(**unread, action__gte=keys[0], action__lte=keys[1]).order_by("xid", "id")
    own = ("at", "action_id", "from_state", "to_state", "reason", "message", "actor")
    rows = list(events.values("xid", *own, event_id=F("id")))
    actions, unreadable = _actions(cluster, {row["action_id"] for row in rows}, keys)
    return _entries(rows, actions, unread), unreadable


def _entries(
    rows: Sequence[dict[str, Any]], actions: Mapping[UUID, tuple[str, dict[str, Any]]], unread: Mapping[str, int]
) -> Iterator[tuple[int, TransitionEntry]]:
    uids = _uids_of_decisions([pk for pk, (uid, _) in actions.items() if not uid], unread)
    for row in rows:
        if row["action_id"] not in actions:
            continue
        xid, (uid, of_action) = row.pop("xid"), actions[row["action_id"]]
        read = (found for decided, found in reversed(uids[row["action_id"]]) if decided <= xid)
        yield xid, TransitionEntry(**row, **of_action, uid=uid or next(read, ""))


def _actions(
    cluster: str, wanted: Collection[UUID], keys: Sequence[UUID]
) -> tuple[dict[UUID, tuple[str, dict[str, Any]]], list[str]]:
    """Of these events, with the uid of the planned target; and why others cannot be read. A query of its own is bounded
    to their months, too, and reads each action once."""
    of_action = (
        "pk",
        "planned_uid",
        "signal_id",
        "type",
        "requested_by",
        "justification",
        "dry_run",
        "before",
        "change",
    )
    of_workload = {name: F(f"workload__{name}") for name in ("namespace", "name", "kind")}
    rows = Action.objects.filter(cluster=cluster, pk__range=keys, pk__in=wanted)
    actions, unreadable = {}, []
    for row in rows.values(*of_action, **of_workload):
        try:
            row["target"] = Target(cluster, row.pop("namespace"), row.pop("name"), Kind(row.pop("kind")))
        except ValueError as error:  # a newer version of SmartOps has written it
            unreadable.append(f"action {row['pk']} cannot be read: {error}")
            continue
        row |= {"before": row["before"] or {}, "change": row["change"] or {}}
        actions[row.pop("pk")] = row.pop("planned_uid"), row
    return actions, unreadable


def _uids_of_decisions(actions: Collection[UUID], unread: Mapping[str, int]) -> Mapping[UUID, list[tuple[int, str]]]:
    """Where a plan was given up or never made: the uids that the decisions on these actions had read, in their order,
    each with its xid."""
    uids = defaultdict[UUID, list[tuple[int, str]]](list)
    if actions:
        uid = KeyTextTransform("uid", KeyTransform("target", KeyTransform("facts", "inputs")))
        decisions = DecisionRecord.objects.filter(action__in=actions, xid__lte=unread["xid__lte"]).annotate(uid=uid)
        known = decisions.filter(uid__isnull=False).order_by("id")
        for action, xid, found in known.values_list("action_id", "xid", "uid"):
            uids[action].append((xid, found))
    return uids


def _decisions(cluster: str, unread: Mapping[str, int], keys: Sequence[UUID]) -> Iterator[tuple[int, DecisionEntry]]:
    rows = DecisionRecord.objects.filter(**unread, pk__range=keys, cluster=cluster, action=None)
    columns = ("xid", "signal_id", "outcome", "reason", "message", "inputs")
    for row in rows.order_by("xid", "id").values(*columns, at=F("created_at"), decision_id=F("id")):
        yield row.pop("xid"), DecisionEntry(**row)
