"""A change of many rows in small transactions, so that nobody waits long for one of them."""

from collections.abc import Callable


def in_batches(change: Callable[[int], int], size: int) -> int:
    """Calls `change`, which changes at most so many rows and returns their number, until fewer are left than `size`.
    Returns the number of all."""
    total = changed = change(size)
    while changed == size:
        changed = change(size)
        total += changed
    return total
