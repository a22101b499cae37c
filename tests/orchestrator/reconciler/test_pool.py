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
