"""Rows together in one transaction; after an error, each alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from django.db import InterfaceError, OperationalError

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
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # noqa: BLE001 - the row that it comes from is found below
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
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - it is recorded with the row
            _record_failure(rows, error, failed)
        else:
            rows.pop(0)
            yield from results


def _record_failure(rows: list[Row], error: Exception, failed: Callable[[Row, Exception], None]) -> None:
    """Takes the first row off the list, unless the database has become unavailable: then its failure is yet to be
    recorded."""
    try:
        failed(rows[0], error)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        rows.pop(0)
        raise
    rows.pop(0)
