"""The pool, on real threads."""

from threading import Event

import pytest

from orchestrator.reconciler.pool import ThreadPool


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit(1)], ids=["error", "exit"])
def test_a_call_that_raises_gives_its_slot_back_and_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    answered = Event()
    pool = ThreadPool(1, answered.set)

    pool.submit(lambda: raise_(error))
    assert answered.wait(5)

    assert (list(pool.answers()), pool.under_way) == ([], 0)
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]

    answered.clear()
    pool.submit(lambda: "an answer")
    assert answered.wait(5)
    assert (list(pool.answers()), pool.under_way) == (["an answer"], 0)
    pool.close()


def test_a_reserved_call_does_not_wait_for_busy_threads() -> None:
    answered, go_on = Event(), Event()
    pool = ThreadPool(2, answered.set)
    try:
        for _ in range(5):
            pool.submit(lambda: go_on.wait(10))
        pool.submit(lambda: "of a caller", reserved=True)

        assert answered.wait(10)
        assert list(pool.answers()) == ["of a caller"]
    finally:
        go_on.set()
        pool.close()
