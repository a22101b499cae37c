"""One page of a long table, newest first, by a condition that few rows may match.

PostgreSQL reads rows in the order of their ids and compares each of them, until the page is full: where few match, the
rows of all months. So a page compares a bounded number of rows, and says how far it has come. The next page continues
there, so no row is passed over. Of a few workloads, an index finds the rows of each.
(docs/adr/0065-a-page-compares-a-bounded-number-of-rows.md)
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import Model, Q, QuerySet
from django.db.models.expressions import RawSQL

from smartops.people.access import EVERYTHING

Row = TypeVar("Row", bound=Model)
MAX_COMPARED = 50_000  # rows that are compared for one page
MAX_PLACES = 100  # workloads whose rows are looked up one by one
PLACE_FILTERS = frozenset({"cluster", "kind", "namespace", "name"})  # conditions about workloads
# The ORM has no LATERAL. With it, PostgreSQL uses the index for each workload, whichever number of rows it estimates.
NEAREST_OF_EACH = """
    SELECT found.id FROM unnest({arrays}) AS place({names}) CROSS JOIN LATERAL ({rows}) AS found(id)
    ORDER BY found.id {direction} LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Places:
    """A few workloads. `columns` name one in the table, each with its type in PostgreSQL; an index begins with them and
    goes on with the id. `values`: those of each workload. `covers`: the conditions that all of their rows meet.
    `others`: rows of workloads that may not be among them; an index has these in the order of the ids."""

    columns: Mapping[str, str]
    values: Sequence[tuple[Any, ...]]
    covers: Collection[str] = PLACE_FILTERS
    others: Q | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """A condition by which an index finds rows in the order of their ids. `covers`: the conditions that it is all
    of."""

    condition: Q = field(default_factory=Q)
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScannedPage(Generic[Row]):
    """The nearest rows that match. `reached`: the id up to which rows were compared, if others are beyond it and the
    page is not full."""

    rows: list[Row]
    reached: UUID | None = None


@dataclass(frozen=True, slots=True)
class Scan(Generic[Row]):
    """`rows`: those that match. `among`: rows that an index finds in the order of the ids; those that match are among
    them. `compares`: whether others are among them, too. `keys`: the ids by which the months of the tables are known
    that `rows` joins."""

    rows: QuerySet[Row]
    among: QuerySet[Any]
    compares: bool = False
    places: Places | None = None
    keys: tuple[str, ...] = ("pk",)

    def read(self, limit: int, beyond: UUID | None = None, *, newer: bool = False) -> ScannedPage[Row]:
        """The next rows after an id, the nearest ones first. A constant number of queries."""
        order, past, within = ("pk", "gt", "lte") if newer else ("-pk", "lt", "gte")
        start = {} if beyond is None else {past: beyond}
        ends = self._ends(bounded(self.among, ("pk",), start).order_by(order))
        if ends:
            start |= {within: min(ends) if newer else max(ends)}
        matching = bounded(self.rows, self.keys, start).order_by(order)
        reached = start.get(within)
        if self.places is None:
            found = list(matching[:limit])
            return ScannedPage(found, None if len(found) == limit else reached)
        ids = nearest_ids(self.places, matching, slice(limit), limit)
        if self.places.others is not None:
            ids += matching.filter(self.places.others).values_list("pk", flat=True)[:limit]
        ids = sorted(set(ids), reverse=not newer)[:limit]
        found = list(self.rows.filter(pk__in=ids).order_by(order))
        if len(ids) < limit:
            return ScannedPage(found, reached)
        # One of them may have changed in between, and is left out. The next page begins after all of them.
        return ScannedPage(found, None if len(found) == limit else ids[-1])

    def _ends(self, among: "QuerySet[Any]") -> list[UUID]:
        """Where the comparisons end, of each of the indexes that are read."""
        if self.places is None:
            return id_at(among, MAX_COMPARED) if self.compares else []
        share, others = MAX_COMPARED // (len(self.places.values) + 1), self.places.others
        ends = nearest_ids(self.places, among, slice(share, share + 1), 1) if self.compares else []
        return ends + (id_at(among.filter(others), share) if others is not None else [])


def scan_of(
    rows: "QuerySet[Row]",
    base: "QuerySet[Any]",
    *,
    given: Collection[str],
    visible: Q,
    index: Index,
    places: Places | None,
    keys: tuple[str, ...] = ("pk",),
) -> Scan[Row]:
    """`rows` are those of `base` that the reader may see, by the condition `visible`, and that match the conditions
    `given`, by their names. `places`: the few workloads that match those of PLACE_FILTERS."""
    if places is not None:
        return Scan(rows, base, bool(set(given) - set(places.covers)), places, keys)
    compares = visible != EVERYTHING or bool(set(given) - set(index.covers))
    return Scan(rows, base.filter(index.condition), compares, keys=keys)


def bounded(rows: "QuerySet[Row]", keys: Sequence[str], bounds: Mapping[str, UUID]) -> "QuerySet[Row]":
    return rows.filter(**{f"{key}__{name}": value for key in keys for name, value in bounds.items()})


def id_at(rows: "QuerySet[Any]", number: int) -> list[UUID]:
    """The id of the row with this number, if there are so many."""
    return list(rows.values_list("pk", flat=True)[number : number + 1])


def nearest_ids(places: Places, rows: "QuerySet[Any]", part: slice, limit: int) -> list[UUID]:
    """The ids of the nearest of those rows that are in this part of the rows of each workload, by itself. `rows` are
    ordered by the id."""
    of_place = rows.filter(**{name: RawSQL(f"place.{name}", ()) for name in places.columns})  # noqa: S611 - constants
    try:
        statement, parameters = of_place.values("pk")[part].query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        return []
    columns = zip(*places.values, strict=True) if places.values else ((),) * len(places.columns)
    text = NEAREST_OF_EACH.format(
        arrays=", ".join(f"%s::{kind}[]" for kind in places.columns.values()),
        names=", ".join(places.columns),
        rows=statement,
        direction="DESC" if str(rows.query.order_by[0]).startswith("-") else "ASC",
    )
    with connection.cursor() as cursor:
        cursor.execute(text, [*map(list, columns), *parameters, limit])
        return [pk for [pk] in cursor.fetchall()]
