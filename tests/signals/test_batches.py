"""A change of many rows ends when fewer are left than a batch has."""

import pytest

from signals.lib.batches import in_batches


@pytest.mark.parametrize(("changed", "total"), [([0], 0), ([1], 1), ([2, 0], 2), ([2, 2, 1], 5), ([3, 1], 4)], ids=repr)
def test_a_batch_that_was_full_is_followed_by_another(changed: list[int], total: int) -> None:
    left = iter(changed)

    assert in_batches(lambda _: next(left), 2) == total
    assert list(left) == []
