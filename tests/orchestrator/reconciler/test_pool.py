"""The pool, on real threads."""

from collections.abc import Callable
from threading import Event, Semaphore, active_count, current_thread

import pytest

from orchestrator.reconciler.pool import RESERVED, ThreadPool
from tests.kit.patience import PATIENCE


def raise_(error: BaseException) -> None:
    raise error


def made(threads: int, on_answer: Callable[[], None]) -> ThreadPool:
    pool = ThreadPool(threads, on_answer)
    pool.start()
    return pool


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit(1), MemoryError()], ids=repr)
def test_a_call_that_raises_has_an_answer_and_keeps_its_thread(error: BaseException) -> None:
    answered = Event()
    pool = made(1, answered.set)

    pool.submit(lambda: raise_(error), lambda found: ("failed", found))
    assert answered.wait(PATIENCE)

    [(failed, found)] = pool.answers()
    assert (failed, pool.under_way) == ("failed", 0)
    assert found is error if isinstance(error, Exception) else str(found) == "SystemExit: 1"

    answered.clear()
    pool.submit(lambda: "an answer", str)
    assert answered.wait(PATIENCE)
    assert (list(pool.answers()), pool.under_way) == (["an answer"], 0)
    pool.close()


def test_all_threads_are_started_at_the_beginning() -> None:
    """Later, the limit of processes may leave no room for one, and its call would wait for ever."""
    before = active_count()
    pool = made(3, lambda: None)

    assert active_count() == before + 3 + RESERVED
    pool.close()
    assert active_count() == before


def test_a_reserved_call_does_not_wait_for_busy_threads() -> None:
    answered, go_on = Event(), Event()
    pool = made(2, answered.set)
    try:
        for _ in range(5):
            pool.submit(lambda: go_on.wait(PATIENCE), str)
        pool.submit(lambda: "of a caller", str, reserved=True)

        assert answered.wait(PATIENCE)
        assert list(pool.answers()) == ["of a caller"]
    finally:
        go_on.set()
        pool.close()


def test_no_call_waits_for_a_reserved_thread() -> None:
    go_on, names, arrived = Event(), list[str](), Semaphore(0)

    def call() -> None:
        names.append(current_thread().name)
        go_on.wait(PATIENCE)

    pool = made(1, arrived.release)
    for reserved in (False, *[True] * (RESERVED + 3)):
        pool.submit(call, str, reserved=reserved)
    go_on.set()
    for _ in range(RESERVED + 4):
        assert arrived.acquire(timeout=PATIENCE)
    pool.close()
    assert sum(name.startswith("reserved call") for name in names) == RESERVED
    assert len(names) == RESERVED + 4
