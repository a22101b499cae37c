"""Pages and streams of the audit.

Each source is read by itself, by its index, and their entries are merged by their places. What no index finds is
searched in a bounded number of rows: a batch then says how far it has come, and nothing beyond is shown, so that no
entry is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from smartops.audit.entries import Entry, Position, Way
from smartops.audit.search import Search
from smartops.audit.sources import SOURCES, Source
from smartops.people.access import EVERYTHING, NOTHING, Access

PAGE = 50
SCANNED = 10_000  # rows of one source that are compared for one page
BATCH, BATCH_SCANNED = 1000, 50_000  # for a stream


@dataclass(frozen=True, slots=True)
class Batch:
    """The next entries of one source. `reached`: the place of the last row that was compared; None after the last row
    of all."""

    entries: tuple[Entry, ...]
    reached: Position | None


@dataclass(frozen=True, slots=True)
class Page:
    """`older`, `newer`: from where to continue; None at an end. `unsearched`: rows remain on that way that were not
    compared, although the page is not full."""

    entries: tuple[Entry, ...]
    older: Position | None
    newer: Position | None = None
    unsearched: Way | None = None


def page(access: Access, search: Search, before: Position | None = None, size: int = PAGE) -> Page:
    """The newest entries, or those after a place in the list. Two queries of each source, at most."""
    found, reached = _nearest(access, search, before, size, Way.OLDER)
    newer = (found[0].position if found else None) if before else None
    if len(found) > size:
        return Page(tuple(found[:size]), found[size - 1].position, newer)
    return Page(tuple(found), reached, newer, Way.OLDER if reached else None)


def page_above(access: Access, search: Search, after: Position, size: int = PAGE) -> Page:
    """The entries before a place in the list; if they are fewer than a page, the first page has them. At most twice as
    many queries."""
    found, reached = _nearest(access, search, after, size, Way.NEWER)
    if reached is None and len(found) <= size:
        return page(access, search, None, size)
    shown = tuple(reversed(found[:size]))
    if len(found) > size:
        return Page(shown, shown[-1].position, shown[0].position)
    return Page(shown, shown[-1].position if shown else after, reached, Way.NEWER)


def _nearest(
    access: Access, search: Search, place: Position | None, size: int, way: Way
) -> tuple[list[Entry], Position | None]:
    """The entries beyond a place, one more than a page if there are so many. With the place up to which all sources
    were compared; None at the end."""
    is_older = way is Way.OLDER
    batches = [read(one, access, search, place, size + 1, SCANNED, way=way) for one in SOURCES]
    reached = (max if is_older else min)((one.reached for one in batches if one.reached), default=None)
    found = merge(*(one.entries for one in batches), key=attrgetter("position"), reverse=is_older)
    known = (
        entry
        for entry in found
        if reached is None or (entry.position >= reached if is_older else entry.position <= reached)
    )
    return list(islice(known, size + 1)), reached


def stream(access: Access, search: Search, *, whole: bool) -> Iterator[Entry]:
    """All entries. Each batch is a query of its own, so nothing is held in the database between two. `whole`: with all
    columns of their rows."""
    return merge(*(_all(one, access, search, whole=whole) for one in SOURCES), key=attrgetter("position"), reverse=True)


def _all(source: Source, access: Access, search: Search, *, whole: bool) -> Iterator[Entry]:
    reached: Position | None = None
    while True:
        batch = read(source, access, search, reached, BATCH, BATCH_SCANNED, whole=whole)
        yield from batch.entries
        if batch.reached is None:
            return
        reached = batch.reached


def read(
    source: Source,
    access: Access,
    search: Search,
    place: Position | None,
    limit: int,
    scanned: int,
    *,
    way: Way = Way.OLDER,
    whole: bool = False,
) -> Batch:
    """The entries beyond a place, the nearest ones first. At most two queries."""
    visible = source.visible(access)
    if visible == NOTHING or not search.wants(source.kinds):
        return Batch((), None)
    matching, last = source.matching(search), None
    rows = source.rows(whole=whole).filter(source.between(search.since, search.until), source.beyond(place, way))
    rows = rows.order_by(*source.order(way))
    if (visible != EVERYTHING or matching) and not source.is_narrow(search):
        last = source.position_at(rows, scanned)
        rows = rows.filter(source.up_to(last, way))
    found = [source.entry_of(row, whole=whole) for row in rows.filter(visible, matching)[:limit]]
    return Batch(tuple(found), found[-1].position if len(found) == limit else last)
