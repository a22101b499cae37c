"""The pool, on real threads."""

from threading import Event, current_thread

import pytest

from orchestrator.reconciler.pool import RESERVED, ThreadPool


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


def test_no_call_waits_for_a_reserved_thread() -> None:
    go_on, names = Event(), list[str]()

    def call() -> None:
        names.append(current_thread().name)
        go_on.wait(10)

    pool = ThreadPool(1, lambda: None)
    for reserved in (False, *[True] * (RESERVED + 3)):
        pool.submit(call, reserved=reserved)
    go_on.set()
    pool._threads.shutdown(wait=True)
    pool.close()
    assert sum(name.startswith("reserved-call") for name in names) == RESERVED
    assert len(names) == RESERVED + 4
