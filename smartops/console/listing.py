"""Lists: pages by id in both directions, and the rows before and after one row. Their filters: filters.py.

A page takes a constant number of queries. It begins after an id and not after a number of rows, so rows that arrive
while somebody pages neither repeat nor hide others. A list of history compares a bounded number of rows for a page
(smartops/scan.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from django.urls import reverse

from signals.lib.partitions import time_of
from smartops.console.filters import POSITION, Filter
from smartops.console.pages import ConsoleRequest
from smartops.people.access import Access
from smartops.scan import Scan

PAGE = 50

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Listing(Generic[Row]):
    """One page of rows. `newer` and `older` are the addresses of the pages around it, or empty. `query`: the filter, to
    be appended to the address of a row, so that its page knows the list. `unsearched`: "older" or "newer" if the page
    is not full, and rows on that side were not compared; `reached`: the time of the last one that was."""

    filter: Filter
    rows: list[Row]
    newer: str = ""
    older: str = ""
    query: str = ""
    unsearched: str = ""
    reached: datetime | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """Of one row: the list that it belongs to, and the rows before and after it there; empty if there are none."""

    back: str
    previous: str
    next: str


def named(
    request: ConsoleRequest,
    filters: type[Filter],
    rows: "QuerySet[Row]",
    by: Sequence[str],
    parameters: QueryDict | None = None,
) -> Listing[Row]:
    """The rows that pass the filter, in the order of these columns, which are unique together. A page begins after a
    row, or ends before one; if that row has been deleted since, it is the first page. `parameters`: those of the
    filter, if the page has others."""
    chosen, before, after = _asked(filters, rows, request, request.GET if parameters is None else parameters)
    if not chosen.is_valid():
        return Listing(chosen, [])
    at = rows.filter(pk=before or after).values(*by).first() if before or after else None
    first, up, down = chosen.qs.order_by(*by), None, None
    if at is not None and after is not None:
        up = chosen.qs.filter(_beyond(at, by, "lt")).order_by(*(f"-{name}" for name in by))
    elif at is not None:
        down = first.filter(_beyond(at, by, "gt"))
    return _found(chosen, first, up, down, PAGE)


def _beyond(at: Mapping[str, Any], by: Sequence[str], comparison: str) -> Q:
    """The rows after the values `at`, or before them, in the order of the columns."""
    where = Q()
    for name in reversed(by):
        further = Q(**{f"{name}__{comparison}": at[name]})
        where = further | (Q(**{name: at[name]}) & where) if where else further
    return where


def listing(request: ConsoleRequest, filters: type[Filter], rows: "QuerySet[Row]", size: int = PAGE) -> Listing[Row]:
    """The rows that pass the filter, newest first."""
    chosen, before, after = _asked(filters, rows, request, request.GET)
    if not chosen.is_valid():
        return Listing(chosen, [])
    scan: Scan[Row] = chosen.scan()
    if after is not None:
        above = scan.read(size + 1, after, newer=True)
        if len(above.rows) > size:
            return _page(chosen, above.rows[size - 1 :: -1], newer=True, older=True)
        if above.reached is not None:
            return _part(chosen, above.rows[::-1], "newer", above.reached)
    below = scan.read(size + 1, before)
    if len(below.rows) > size or below.reached is None:
        return _page(chosen, below.rows[:size], newer=before is not None, older=len(below.rows) > size)
    return _part(chosen, below.rows, "older", below.reached, is_first=before is None)


def _part(chosen: Filter, rows: list[Row], side: str, reached: UUID, *, is_first: bool = False) -> Listing[Row]:
    """A page that is not full, as the rows on that side of `reached` were not compared."""
    newest, oldest = (rows[0].pk, rows[-1].pk) if rows else (reached, reached)
    newer, older = (newest, reached) if side == "older" else (reached, oldest)
    to_newer, to_older = filter_query(chosen.data, after=str(newer)), filter_query(chosen.data, before=str(older))
    query = filter_query(chosen.data)
    return Listing(chosen, rows, "" if is_first else to_newer, to_older, query, side, time_of(reached))


def _asked(
    filters: type[Filter], rows: "QuerySet[Any]", request: ConsoleRequest, parameters: QueryDict
) -> tuple[Filter, Any, Any]:
    """The filter, and the row before which the page ends or after which it begins."""
    chosen = filters(parameters, rows, request=request)
    before, after = (_position(chosen, rows, name) for name in POSITION)
    if before is not None and after is not None:
        chosen.form.add_error(None, "A page has either “before” or “after”.")
    return chosen, before, after


def _found(
    chosen: Filter, first: "QuerySet[Row]", up: "QuerySet[Row] | None", down: "QuerySet[Row] | None", size: int
) -> Listing[Row]:
    """`first`: the rows from the beginning of the list on. `up`: those that come before a row, the nearest one first;
    if they are fewer than a page, the first page has them. `down`: those that come after a row."""
    if up is not None:
        found = list(up[: size + 1])
        if len(found) > size:
            return _page(chosen, found[size - 1 :: -1], newer=True, older=True)
    found = list((first if down is None else down)[: size + 1])
    return _page(chosen, found[:size], newer=down is not None, older=len(found) > size)


def passing(filters: type[Filter], rows: "QuerySet[Row]", parameters: QueryDict, access: Access) -> "QuerySet[Row]":
    """The rows of all pages of a list: for what counts them, or asks which of some rows belong to it."""
    chosen = filters(parameters, rows, request=SimpleNamespace(access=access))
    found: QuerySet[Row] = chosen.qs if chosen.is_valid() else rows.none()
    return found


def around(
    request: ConsoleRequest,
    filters: type[Filter],
    rows: "QuerySet[Row]",
    row: Row,
    screen: str,
    address: Callable[[Row], str],
    by: Sequence[str] = (),
) -> Around:
    """A constant number of queries. `screen`: the URL name of the list. `address`: of the page of a row. `by`: the
    columns that order the list, as in `named`; without any, it is newest first, and where a row is beyond those that a
    page compares, the list from here on takes its place."""
    chosen, query = filters(request.GET, rows, request=request), filter_query(request.GET)
    back = reverse(screen) + query
    if not chosen.is_valid():
        return Around(back, "", "")
    if not by:
        scan: Scan[Row] = chosen.scan()
        return Around(back, *(_beside(scan, row, back, address, query, newer=way) for way in (True, False)))
    at = {name: getattr(row, name) for name in by}
    above, below = (chosen.qs.filter(_beyond(at, [*at], one)).order_by(*at) for one in ("lt", "gt"))
    beside = (above.reverse().first(), below.first())
    return Around(back, *("" if one is None else address(one) + query for one in beside))


def _beside(scan: Scan[Row], row: Row, back: str, address: Callable[[Row], str], query: str, *, newer: bool) -> str:
    part = scan.read(1, row.pk, newer=newer)
    if part.rows:
        return address(part.rows[0]) + query
    position = f"{'after' if newer else 'before'}={row.pk}"
    return f"{back}{'&' if query else '?'}{position}" if part.reached else ""


def _page(chosen: Filter, rows: list[Row], *, newer: bool, older: bool) -> Listing[Row]:
    first = filter_query(chosen.data) or "?"
    to_newer = filter_query(chosen.data, after=str(rows[0].pk)) if rows else first
    to_older = filter_query(chosen.data, before=str(rows[-1].pk)) if rows else first
    return Listing(chosen, rows, to_newer if newer else "", to_older if older else "", filter_query(chosen.data))


def _position(chosen: Filter, rows: "QuerySet[Any]", name: str) -> Any:
    if not (given := chosen.data.get(name)):
        return None
    try:
        return rows.model._meta.pk.clean(given, None)
    except ValidationError:
        chosen.form.add_error(None, f"“{name}” is not the id of a row.")
        return None


def filter_query(parameters: QueryDict, **position: str) -> str:
    """The filter as a query string, without empty parameters."""
    left = QueryDict(mutable=True)
    for name, values in parameters.lists():
        if name not in POSITION and any(values):
            left.setlist(name, values)
    left.update(position)
    return f"?{left.urlencode()}" if left else ""
