"""Rows that are stored together, and what an error of one means for the others."""

from collections.abc import Sequence

import pytest
from django.db import InternalError, OperationalError
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import LockNotAvailable, ReadOnlySqlTransaction

from orchestrator.reconciler.batch import MAX_WAITS, Locked, store_together
from tests.kit.verbs import those_stored


class Store:
    """Stores numbers; `poison` fails, and `outages` are how many calls find no database."""

    def __init__(self, poison: Sequence[int] = (), outages: int = 0) -> None:
        self.poison, self.outages = set(poison), outages
        self.calls: list[list[int]] = []
        self.failed: list[int] = []

    def store(self, rows: Sequence[int]) -> list[str]:
        self.calls.append(list(rows))
        if self.outages:
            self.outages -= 1
            raise OperationalError("server closed the connection")
        if self.poison & set(rows):
            raise ValueError("poison")
        return [f"stored {row}" for row in rows]

    def fail(self, row: int, error: Exception) -> None:
        assert isinstance(error, ValueError)
        self.failed.append(row)


def test_rows_without_a_fault_share_one_call() -> None:
    store, rows = Store(), [1, 2, 3]

    assert those_stored(rows, store.store, store.fail) == ["stored 1", "stored 2", "stored 3"]
    assert (store.calls, rows) == ([[1, 2, 3]], [])


def test_no_rows_make_no_call() -> None:
    store = Store()

    assert those_stored([], store.store, store.fail) == []
    assert store.calls == []


@given(st.lists(st.integers(0, 20), unique=True, min_size=1), st.sets(st.integers(0, 20)))
def test_only_the_rows_that_fail_pay_for_it(numbers: list[int], poison: set[int]) -> None:
    store, rows = Store(sorted(poison)), list(numbers)

    stored = those_stored(rows, store.store, store.fail)

    assert stored == [f"stored {number}" for number in numbers if number not in poison]
    assert store.failed == [number for number in numbers if number in poison]
    assert rows == []
    assert len(store.calls) <= 1 + len(numbers)


def test_rows_stay_on_the_list_while_the_database_is_unavailable() -> None:
    store, rows = Store(outages=1), [1, 2]

    with pytest.raises(OperationalError):
        those_stored(rows, store.store, store.fail)
    assert (rows, store.failed) == ([1, 2], [])

    assert those_stored(rows, store.store, store.fail) == ["stored 1", "stored 2"]


def test_a_row_that_was_stored_alone_is_not_stored_again_after_an_outage() -> None:
    store, rows = Store(poison=[9]), [1, 9, 2]
    results = list[str]()

    def begins_an_outage(result: str) -> None:
        results.append(result)
        store.outages = 1

    with pytest.raises(OperationalError):
        store_together(rows, store.store, store.fail, begins_an_outage)

    assert (results, rows, store.failed) == (["stored 1"], [9, 2], [])
    assert those_stored(rows, store.store, store.fail) == ["stored 2"]
    assert store.failed == [9]


def test_a_row_whose_failure_meets_an_outage_stays_on_the_list() -> None:
    store, rows = Store(poison=[9]), [9, 2]

    def finds_no_database(*_: object) -> None:
        raise OperationalError("server closed the connection")

    with pytest.raises(OperationalError):
        those_stored(rows, store.store, finds_no_database)

    assert rows == [9, 2]
    assert those_stored(rows, store.store, store.fail) == ["stored 2"]
    assert store.failed == [9]


def test_a_row_whose_failure_cannot_be_recorded_is_logged_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, rows = Store(poison=[9]), [9, 2]

    def fails_as_well(*_: object) -> None:
        raise ValueError("a NUL in the message")

    assert those_stored(rows, store.store, fails_as_well) == ["stored 2"]
    assert rows == []
    assert [record.getMessage() for record in caplog.records] == [
        "9 failed, and its error could not be stored; it is tried again"
    ]


@pytest.mark.parametrize("by_the_server", [True, False], ids=["waited for it", "skipped it"])
def test_a_row_that_another_session_has_locked_stays_on_the_list_alone(by_the_server: bool) -> None:
    store, rows, locked = Store(), [1, 9, 2, 8], {9, 8}

    def may_be_locked(some: Sequence[int]) -> list[str]:
        if not locked & set(some):
            return store.store(some)
        if by_the_server:
            raise OperationalError from LockNotAvailable("canceling statement due to lock timeout")
        raise Locked

    assert those_stored(rows, may_be_locked, store.fail) == ["stored 1", "stored 2"]
    assert (rows, store.failed) == ([9, 8], [])

    locked.remove(9)
    assert those_stored(rows, may_be_locked, store.fail) == ["stored 9"]
    assert those_stored(rows, may_be_locked, store.fail) == []
    locked.clear()
    assert those_stored(rows, may_be_locked, store.fail) == ["stored 8"]
    assert (rows, store.failed) == ([], [])


def test_a_pass_waits_for_a_few_locks_only_and_the_next_one_begins_with_the_other_rows() -> None:
    store, rows = Store(), [*range(100), 200]

    def everything_is_locked(some: Sequence[int]) -> list[str]:
        store.calls.append(list(some))
        raise Locked

    assert those_stored(rows, everything_is_locked, store.fail) == []
    assert len(store.calls) == 1 + MAX_WAITS
    assert rows == [*range(MAX_WAITS, 100), 200, *range(MAX_WAITS)]

    def all_but_one_are_locked(some: Sequence[int]) -> list[str]:
        if list(some) != [200]:
            raise Locked
        return store.store(some)

    passes = [those_stored(rows, all_but_one_are_locked, store.fail) for _ in range(1 + 100 // MAX_WAITS)]
    assert ["stored 200"] in passes
    assert sorted(rows) == list(range(100))


def test_a_failure_that_meets_a_lock_is_recorded_later() -> None:
    store, rows = Store(poison=[9]), [9, 2]

    def meets_a_lock(*_: object) -> None:
        raise Locked

    assert those_stored(rows, store.store, meets_a_lock) == ["stored 2"]
    assert (rows, store.failed) == ([9], [])
    assert those_stored(rows, store.store, store.fail) == []
    assert (rows, store.failed) == ([], [9])


def test_a_read_only_server_is_not_the_fault_of_a_row() -> None:
    """A demoted primary, or a standby that has not been promoted yet."""
    store, rows = Store(), [1, 2]

    def refuse(_: Sequence[int]) -> list[str]:
        raise InternalError from ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction")

    with pytest.raises(InternalError):
        those_stored(rows, refuse, store.fail)
    assert (rows, store.failed) == ([1, 2], [])
