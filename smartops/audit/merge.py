"""Pages and streams of the audit.

Each source is read by itself, by its index, and their entries are merged by their places. What no index finds is
searched in a bounded number of rows: a batch then says how far it has come, and nothing beyond is shown, so that no
entry is passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter

from smartops.audit.entries import Entry, Position
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
    """`older`: from where to continue; None at the end. `is_searching`: rows remain that were not compared, although
    the page is not full."""

    entries: tuple[Entry, ...]
    older: Position | None
    is_searching: bool = False


def page(access: Access, search: Search, before: Position | None = None, size: int = PAGE) -> Page:
    """The newest entries, or those after a place. Two queries of each source, at most."""
    batches = [read(one, access, search, before, size + 1, SCANNED) for one in SOURCES]
    reached = max((one.reached for one in batches if one.reached), default=None)
    found = [
        entry
        for entry in merge(*(one.entries for one in batches), key=attrgetter("position"), reverse=True)
        if reached is None or entry.position >= reached
    ]
    if len(found) > size:
        return Page(tuple(found[:size]), found[size - 1].position)
    return Page(tuple(found), reached, is_searching=reached is not None)


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
    before: Position | None,
    limit: int,
    scanned: int,
    *,
    whole: bool = False,
) -> Batch:
    """The entries after a place. At most two queries."""
    visible = source.visible(access)
    if visible == NOTHING or not search.wants(source.kinds):
        return Batch((), None)
    matching, last = source.matching(search), None
    rows = source.rows(whole=whole).filter(source.between(search.since, search.until), source.after(before))
    rows = rows.order_by(*source.order)
    if (visible != EVERYTHING or matching) and not source.is_narrow(search):
        last = source.position_at(rows, scanned)
        rows = rows.filter(source.down_to(last))
    found = [source.entry_of(row, whole=whole) for row in rows.filter(visible, matching)[:limit]]
    return Batch(tuple(found), found[-1].position if len(found) == limit else last)
