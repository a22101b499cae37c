"""A change of many rows in small transactions, so that nobody waits long for one of them."""

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet


def in_batches(change: Callable[[int], int], size: int) -> int:
    """Calls `change`, which changes at most so many rows and returns their number, until fewer are left than `size`.
    Returns the number of all."""
    total = changed = change(size)
    while changed >= size:
        changed = change(size)
        total += changed
    return total


def delete(rows: "QuerySet[Any]", size: int) -> int:
    """Deletes the rows, `size` of them in each transaction, in their order, which should be that of an index. Returns
    their number."""

    def delete_some(most: int) -> int:
        _, deleted = rows.model._default_manager.filter(pk__in=rows.values("pk")[:most]).delete()
        return int(deleted.get(rows.model._meta.label, 0))  # without the rows that refer to them

    return in_batches(delete_some, size)
