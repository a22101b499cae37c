"""Rows together in one transaction; after an error, each alone."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator import metrics
from signals.lib.availability import is_locked, is_repeatable

log = logging.getLogger(__name__)

Row = TypeVar("Row")
Result = TypeVar("Result")


MAX_WAITS = 8  # rows of one pass that may wait for locks: together less than the time after which a pass is stalled


class Locked(Exception):  # noqa: N818 - it is no error of the row
    """Another session has locked what the row needs."""


def _nothing(_: object) -> None:
    pass


def store_together(
    rows: list[Row],
    store: Callable[[Sequence[Row]], Sequence[Result]],
    failed: Callable[[Row, Exception], None],
    then: Callable[[Result], object] = _nothing,
) -> None:
    """Stores all rows in one transaction, and takes them off the list. If the transaction fails, each row is stored
    alone, so that an error affects only its row: `failed` records it. If `failed` fails, too, its error is logged.
    `then` takes each result, after the commit. A row that waits for the lock of another session stays on the list: the
    next pass tries it again. If the database is unavailable, or another transaction was in the way, no row is to blame:
    the error is raised, and the rows stay on the list."""
    if not rows:
        return
    try:
        results = store(rows)
    except Exception as error:
        if _blames_no_row(error):
            raise
        if not (_is_locked(error) and len(rows) == 1):  # it would only wait again
            _store_alone(rows, store, failed, then)
    else:
        rows.clear()
        for result in results:
            then(result)


def _store_alone(
    rows: list[Row],
    store: Callable[[Sequence[Row]], Sequence[Result]],
    failed: Callable[[Row, Exception], None],
    then: Callable[[Result], object],
) -> None:
    """A session may lock everything. So a pass waits for some rows only, and the next one begins with the others."""
    waiting = 0  # rows at the head of the list that stay on it
    while waiting < min(MAX_WAITS, len(rows)):
        try:
            results = store([rows[waiting]])
        except Exception as error:
            if _blames_no_row(error):
                raise
            if _is_locked(error) or not _record_failure(rows, waiting, error, failed):
                waiting += 1
        else:
            rows.pop(waiting)
            for result in results:
                then(result)
    rows[:] = rows[waiting:] + rows[:waiting]


def _record_failure(rows: list[Row], at: int, error: Exception, failed: Callable[[Row, Exception], None]) -> bool:
    """Takes the row off the list, unless its failure is yet to be recorded: another session holds a lock (False), or
    the database has become unavailable."""
    try:
        failed(rows[at], error)
    except Exception as error:
        if _is_locked(error):
            return False
        if is_repeatable(error):
            raise
        metrics.FAILED_STEPS.inc()
        log.exception("%s failed, and its error could not be stored; it is tried again", rows[at])
    rows.pop(at)
    return True


def _is_locked(error: Exception) -> bool:
    return isinstance(error, Locked) or is_locked(error)


def _blames_no_row(error: Exception) -> bool:
    return is_repeatable(error) and not _is_locked(error)
