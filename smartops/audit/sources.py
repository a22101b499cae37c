"""The tables of the audit: which rows a person may see, which match a search, and what each says.

Another source is another class and its instance in `SOURCES`. Its rank orders entries of one instant: it never changes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet, UUIDField

from orchestrator.models import ActionState, Approval, AuditEvent, DecisionRecord, RefusedRequest
from orchestrator.models.evidence import by_callers
from signals.lib.partitions import first_id, time_of
from signals.models import SettingChange
from signals.types import workload_name
from smartops.audit import tables
from smartops.audit.entries import MICROSECOND, Entry, Kind, Position, Way
from smartops.audit.search import Search
from smartops.models import AuditExport, SignIn
from smartops.people.access import EVERYTHING, NOTHING, Access, Right
from smartops.people.scopes import visible_changes


class Source(ABC):
    """`at`: the column of the time, with an index; "" if the key is a UUIDv7. `actor` is its column. `sentences`: the
    columns in which a part of a reason is searched for. `large`: columns that a list does not load."""

    rank: ClassVar[int]
    kinds: ClassVar[tuple[Kind, ...]]
    model: ClassVar[type[Model]]
    at: ClassVar[str] = "at"
    actor: ClassVar[str] = "actor"
    code: ClassVar[str] = ""  # the column with a reason of the closed list
    sentences: ClassVar[Sequence[str]] = ("reason",)
    large: ClassVar[Sequence[str]] = ()
    related: ClassVar[Sequence[str]] = ()
    finds_callers: ClassVar[bool] = False  # by an index that leaves out what the software does by itself

    @abstractmethod
    def visible(self, access: Access) -> Q:
        """The rows that the person may see."""

    def about(self, search: Search) -> Q:  # noqa: ARG002
        """The rows that `search.about` names. It is not empty."""
        return NOTHING

    @abstractmethod
    def entry(self, row: Any) -> Entry: ...

    def rows(self, *, whole: bool) -> "QuerySet[Any]":
        rows = self.model._default_manager.all()
        rows = rows.select_related(*self.related) if self.related else rows
        return rows if whole else rows.defer(*self.large)

    def matching(self, search: Search) -> Q:
        where = self.of_kinds(search)
        if search.actor:
            where &= Q(**{f"{self.actor}__in": search.actors})
            where &= by_callers(self.actor) if self.finds_callers and search.is_of_caller else Q()
        if search.about:
            where &= self.about(search)
        if search.reason:
            where &= self.because(search)
        return where

    def of_kinds(self, search: Search) -> Q:
        return Q() if search.wants(self.kinds) else NOTHING

    def because(self, search: Search) -> Q:
        if search.is_code and self.code:
            return Q(**{self.code: search.reason})
        return Q.create([(f"{name}__icontains", search.reason) for name in self.sentences], connector=Q.OR)

    def is_narrow(self, search: Search) -> bool:
        """Whether an index finds the rows that match."""
        return search.is_of_object or search.is_of_caller or bool(search.is_code and self.code)

    def entry_of(self, row: Any, *, whole: bool) -> Entry:
        if not whole:
            return self.entry(row)
        columns = {str(field.column): getattr(row, field.attname) for field in self.model._meta.concrete_fields}
        return replace(self.entry(row), row=columns)

    # The position in the list

    def order(self, way: Way) -> Sequence[str]:
        return [f"-{column}" if way is Way.OLDER else column for column in self.position_columns]

    @property
    def position_columns(self) -> Sequence[str]:
        return [self.at, "pk"] if self.at else ["pk"]

    def position(self, row: Any) -> Position:
        return Position(getattr(row, self.at) if self.at else time_of(row.pk), self.rank, row.pk)

    def position_at(self, rows: "QuerySet[Any]", number: int) -> Position | None:
        """Of the row with this number; None if there are not so many. The rows are in the order of the list."""
        found = rows.values_list(*self.position_columns)[number : number + 1]
        return next((Position(at[0] if at else time_of(pk), self.rank, pk) for *at, pk in found), None)

    def between(self, since: datetime | None, until: datetime | None) -> Q:
        """`until` is exclusive."""
        return (self.not_before(since) if since else Q()) & (self.earlier(until) if until else Q())

    def beyond(self, position: Position | None, way: Way) -> Q:
        """What comes after a position on the way."""
        if position is None:
            return Q()
        if position.rank == self.rank:
            return self._from(position, way, "lt" if way is Way.OLDER else "gt")
        # Of its instant, the sources of higher ranks come before it in the list.
        has_instant = (position.rank > self.rank) is (way is Way.OLDER)
        if way is Way.OLDER:
            return self.earlier(position.at + MICROSECOND if has_instant else position.at)
        return self.not_before(position.at if has_instant else position.at + MICROSECOND)

    def up_to(self, position: Position | None, way: Way) -> Q:
        """What comes before a position of this source on the way, and its row."""
        if position is None:
            return Q()
        return self._from(position, Way.NEWER, "gte") if way is Way.OLDER else self._from(position, Way.OLDER, "lte")

    def _from(self, position: Position, way: Way, comparison: str) -> Q:
        """What is newer or older than a position of this source, by its time, and then by its key."""
        key = Q(**{f"pk__{comparison}": position.key})
        if not self.at:
            return key
        if way is Way.OLDER:
            return self.earlier(position.at + MICROSECOND) & (self.earlier(position.at) | key)
        return self.not_before(position.at) & (self.not_before(position.at + MICROSECOND) | key)

    def not_before(self, moment: datetime) -> Q:
        return Q(**{f"{self.at}__gte": moment}) if self.at else Q(pk__gte=_first_id_from(moment))

    def earlier(self, moment: datetime) -> Q:
        return Q(**{f"{self.at}__lt": moment}) if self.at else Q(pk__lt=_first_id_from(moment))


def _first_id_from(moment: datetime) -> UUID:
    """The smallest UUIDv7 whose milliseconds are not before the moment."""
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return first_id(whole if whole == moment else whole + timedelta(milliseconds=1))


class Decisions(Source):
    """The time is that of the id: of the process that decided."""

    rank, kinds, model = 70, (Kind.DECISION,), DecisionRecord
    at, actor, code, sentences = "", "requested_by", "reason", ("reason", "message")
    large = ("inputs", "verdicts")
    finds_callers = True

    def visible(self, access: Access) -> Q:
        return access.visible()

    def about(self, search: Search) -> Q:
        if search.id:
            return Q(pk=search.id) | Q(signal=search.id) | Q(action__in=search.actions)
        return Q(**search.workload) if search.workload else NOTHING

    def entry(self, row: DecisionRecord) -> Entry:
        when = "before the write" if row.phase == "plan" else "on the request"
        return Entry(
            position=self.position(row),
            kind=Kind.DECISION,
            actor=row.requested_by,
            what=f"{row.outcome} {when}",
            reason=row.reason,
            message=row.message,
            cluster=row.cluster,
            workload_kind=row.kind,
            namespace=row.namespace,
            workload=row.workload,
            decision=row.pk,
            action=row.action_id,
            signal=row.signal_id,
            details={"until": row.until.isoformat()} if row.until else {},
        )


class OfActions(Source):
    """The rows belong to actions."""

    related = ("action__workload",)

    def rows(self, *, whole: bool) -> "QuerySet[Any]":
        columns = ("action__signal", "action__type", "action__workload")
        own = [field.name for field in self.model._meta.concrete_fields]
        of_workload = [f"action__workload__{name}" for name in ("cluster", "kind", "namespace", "name")]
        return super().rows(whole=whole).only(*own, *columns, *of_workload)

    def visible(self, access: Access) -> Q:
        return access.visible(cluster="action__cluster", namespace="action__workload__namespace")

    def about(self, search: Search) -> Q:
        if search.id:
            return Q(action__in=search.actions)
        if search.is_of_object:
            return Q(action__workload__in=search.workloads)
        return Q(**{f"action__workload__{name}": value for name, value in search.named.items()})

    def of_action(self, row: Any, **own: Any) -> Entry:
        """The entry of a row. `own`: what it says itself."""
        target = row.action.workload.target
        return Entry(
            position=self.position(row),
            kind=self.kinds[0],
            cluster=target.cluster,
            workload_kind=target.kind,
            namespace=target.namespace,
            workload=target.name,
            action=row.action_id,
            signal=row.action.signal_id,
            **own,
        )


class Transitions(OfActions):
    rank, kinds, model = 60, (Kind.TRANSITION,), AuditEvent
    code, sentences = "reason", ("reason", "message")
    finds_callers = True

    def entry(self, row: AuditEvent) -> Entry:
        return self.of_action(
            row,
            actor=row.actor,
            what=f"{row.action.type}: {_state(row.from_state)} → {_state(row.to_state)}",
            reason=row.reason,
            message=row.message,
            details=row.details,
        )


def _state(state: str) -> str:
    """Also of another version of SmartOps."""
    return dict(ActionState.choices).get(state, state).lower() or "new"


class Approvals(OfActions):
    """The votes of persons."""

    rank, kinds, model = 50, (Kind.APPROVAL,), Approval
    at, actor = "", "by"

    def is_narrow(self, search: Search) -> bool:
        return search.is_of_object  # persons decide seldom: no index has their names

    def entry(self, row: Approval) -> Entry:
        return self.of_action(
            row,
            actor=row.by,
            what=f"{row.decision} {row.action.type}",
            reason=row.reason,
            details={"digest": row.digest, **({"acknowledged": row.acknowledged} if row.acknowledged else {})},
        )


class Changes(Source):
    """The history of settings, and of what is administered: its tables say which of the two. A
    permission that a migration defines grants nothing to anybody: only a search for its table shows that."""

    rank, kinds, model = 40, (Kind.SETTING, Kind.ADMINISTRATION), SettingChange

    def visible(self, access: Access) -> Q:
        return visible_changes(access)

    def matching(self, search: Search) -> Q:
        defined = Q(table_name=tables.DEFINITIONS, operation="insert")
        return super().matching(search) & (Q() if search.setting[0] == tables.DEFINITIONS else ~defined)

    def of_kinds(self, search: Search) -> Q:
        if search.kinds >= set(self.kinds):
            return Q()
        administered = Q(table_name__in=tables.administration())
        if Kind.ADMINISTRATION in search.kinds:
            return administered
        return ~administered if Kind.SETTING in search.kinds else NOTHING

    def about(self, search: Search) -> Q:
        if search.workload:
            before, after = (
                Q(**{f"{row}__{name}": value for name, value in search.workload.items()}) for row in ("before", "after")
            )
            return before | after
        table, key = search.setting
        return Q(**({"table_name": table} if table else {}), **({"key": key} if key else {}))

    def is_narrow(self, search: Search) -> bool:
        return bool(search.about and not search.workload) or bool(search.actor)

    def entry(self, row: SettingChange) -> Entry:
        content = row.after or row.before or {}
        name = tables.name_of(content)
        return Entry(
            position=self.position(row),
            kind=Kind.ADMINISTRATION if row.table_name in tables.administration() else Kind.SETTING,
            actor=row.actor,
            what=" ".join(filter(None, (row.summary, name))),
            reason=row.reason,
            cluster=str(content.get("cluster", "")),
            workload_kind=str(content.get("kind", "")) if content.get("workload") else "",
            namespace=str(content.get("namespace", "")),
            workload=str(content.get("workload", "")),
            table=row.table_name,
            key=row.key,
            address=row.address,
            details={name: {"before": before, "after": after} for name, before, after in row.differences},
        )


class Refusals(Source):
    """Equal requests of an hour are one row, which has the time of the first."""

    rank, kinds, model = 30, (Kind.REFUSED,), RefusedRequest
    at, actor, sentences = "first_at", "requested_by", ("reason", "message")

    def visible(self, access: Access) -> Q:
        """What names no place is for those who may read everything."""
        return access.visible()

    def about(self, search: Search) -> Q:
        return Q(**search.named) or NOTHING

    def is_narrow(self, search: Search) -> bool:
        return bool(search.actor)

    def between(self, since: datetime | None, until: datetime | None) -> Q:
        """Those of which any was refused in this time."""
        earliest = since - timedelta(hours=1) if since else None
        return super().between(earliest, until) & (Q(last_at__gte=since) if since else Q())

    def entry(self, row: RefusedRequest) -> Entry:
        times = "once" if row.count == 1 else f"{row.count} times until {row.last_at:%H:%M:%S} UTC"
        on = f" of {workload_name(row.kind, row.namespace, row.name)}" if row.name else ""
        return Entry(
            position=self.position(row),
            kind=Kind.REFUSED,
            actor=row.requested_by,
            what=f"refused request{on}, {times}",
            reason=row.reason,
            message=row.message,
            cluster=row.cluster,
            workload_kind=row.kind,
            namespace=row.namespace,
            workload=row.name,
            details={"count": row.count, "last_at": row.last_at.isoformat()},
        )


class Administered(Source):
    """For those who administer everything."""

    def visible(self, access: Access) -> Q:
        return EVERYTHING if access.may(Right.ADMINISTER) else NOTHING

    def is_narrow(self, search: Search) -> bool:
        return bool(search.actor)


class SignIns(Administered):
    rank, kinds, model = 20, (Kind.SIGN_IN,), SignIn
    sentences = ("event", "reason")

    def entry(self, row: SignIn) -> Entry:
        times = "" if row.count == 1 else f", {row.count} times"
        return Entry(
            position=self.position(row),
            kind=Kind.SIGN_IN,
            actor=row.actor,
            what=f"{row.event}{times}",
            reason=row.reason,
            address=row.address,
            details={} if row.count == 1 else {"count": row.count},
        )


class Exports(Administered):
    rank, kinds, model = 10, (Kind.EXPORT,), AuditExport
    sentences = ("outcome",)

    def entry(self, row: AuditExport) -> Entry:
        ended = f"{row.outcome}, {row.rows} rows" if row.outcome else "not ended"
        return Entry(
            position=self.position(row),
            kind=Kind.EXPORT,
            actor=row.actor,
            what=f"export of the audit as {row.format}: {ended}",
            address=row.address,
            details={"search": row.search, "rows": row.rows, "sha256": row.sha256},
        )


SOURCES: tuple[Source, ...] = (Decisions(), Transitions(), Approvals(), Changes(), Refusals(), SignIns(), Exports())


def parse_position(text: str) -> Position:
    """Raises ValueError for what is the position of no entry: a key is of the kind that its source has."""
    position = Position.parse(text)
    source = next((one for one in SOURCES if one.rank == position.rank), None)
    if source is None or isinstance(position.key, UUID) is not isinstance(source.model._meta.pk, UUIDField):
        raise ValueError(text)
    return position
