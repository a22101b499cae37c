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
            rows.pop(0)
            failed(row, error)
        else:
            rows.pop(0)
            yield from results
