"""Rows together in one transaction; after an error, each alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from django.db import InterfaceError, OperationalError
from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction

Row = TypeVar("Row")
Result = TypeVar("Result")


def together(
    rows: list[Row],
    store: Callable[[Sequence[Row]], Sequence[Result]],
    failed: Callable[[Row, Exception], None],
) -> Iterator[Result]:
    """Stores all rows in one transaction, and takes them off the list. If that fails, stores each of them alone, so
    that only the row that fails pays for it: `failed` records its error. If the database is unavailable, no row is to
    blame: the error is raised, and the rows stay on the list."""
    if not rows:
        return
    try:
        results = store(rows)
    except Exception as error:
        if _is_unavailable(error):
            raise
        yield from _alone(rows, store, failed)
    else:
        rows.clear()
        yield from results


def _alone(
    rows: list[Row],
    store: Callable[[Sequence[Row]], Sequence[Result]],
    failed: Callable[[Row, Exception], None],
) -> Iterator[Result]:
    while rows:
        row = rows[0]
        try:
            results = store([row])
        except Exception as error:
            if _is_unavailable(error):
                raise
            _record_failure(rows, error, failed)
        else:
            rows.pop(0)
            yield from results


def _record_failure(rows: list[Row], error: Exception, failed: Callable[[Row, Exception], None]) -> None:
    """Takes the first row off the list, unless the database has become unavailable: then its failure is yet to be
    recorded."""
    try:
        failed(rows[0], error)
    except Exception as error:
        if not _is_unavailable(error):
            rows.pop(0)
        raise
    rows.pop(0)


def _is_unavailable(error: Exception) -> bool:
    """Whether the database is to blame. During a failover a server may be read-only, which Django reports as an
    InternalError."""
    unavailable = isinstance(error, OperationalError | InterfaceError)
    return unavailable or isinstance(error.__cause__, ReadOnlySqlTransaction | IdleInTransactionSessionTimeout)
