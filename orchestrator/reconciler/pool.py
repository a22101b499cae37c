"""Calls to the network, beside the loop. A thread of the pool calls the cluster or the policy engine, and nothing else;
what it learns is a value that the loop collects."""

import logging
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any, Protocol

log = logging.getLogger(__name__)

Call = Callable[[], Any]
Failed = Callable[[Exception], Any]
Calls = SimpleQueue[tuple[Call, Failed] | None]
RESERVED = 2  # threads beside the others, for direct actions


class Pool(Protocol):
    """`under_way` counts the calls that were submitted and whose answers were not collected yet."""

    under_way: int

    def start(self) -> None: ...

    def submit(self, call: Call, failed: Failed, *, reserved: bool = False) -> None:
        """Each call has an answer: what it returns, or what `failed` makes of the error that it raises. `reserved`: if
        all threads are busy, a reserved one that is free makes it."""

    def answers(self) -> Iterator[Any]:
        """The answers that have arrived."""

    def close(self) -> None:
        """Waits for the calls that have begun. The others are not made: nobody would record their answers."""


class ThreadPool:
    """`on_answer` is called on the threads, and must be quick."""

    def __init__(self, threads: int, on_answer: Callable[[], None]) -> None:
        self.under_way = 0
        self._on_answer = on_answer
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        self._count, self._closed = threads, False
        self._calls, self._reserved_calls = Calls(), Calls()
        self._free_reserved = Semaphore(RESERVED)
        self._threads = [_thread(f"call {number}", self._make_calls) for number in range(threads)]
        self._threads += [_thread(f"reserved call {number}", self._make_reserved_calls) for number in range(RESERVED)]

    def start(self) -> None:
        """All threads, now: later there may be no room for one, and a call would wait for ever."""
        for thread in self._threads:
            thread.start()

    def submit(self, call: Call, failed: Failed, *, reserved: bool = False) -> None:
        self.under_way += 1
        is_busy = self.under_way > self._count
        # No queue grows before the few reserved threads: each call has to be made within a lease.
        if reserved and is_busy and self._free_reserved.acquire(blocking=False):
            self._reserved_calls.put((call, failed))
        else:
            self._calls.put((call, failed))

    def answers(self) -> Iterator[Any]:
        while True:
            try:
                answer = self._arrived.get_nowait()
            except Empty:
                return
            self.under_way -= 1
            yield answer

    def close(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._calls.put(None)
            self._reserved_calls.put(None)
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def _make_calls(self) -> None:
        while (one := self._calls.get()) and not self._closed:
            self._make(*one)

    def _make_reserved_calls(self) -> None:
        while (one := self._reserved_calls.get()) and not self._closed:
            self._make(*one)
            self._free_reserved.release()

    def _make(self, call: Call, failed: Failed) -> None:
        self._arrived.put(answer(call, failed))
        self._on_answer()


def answer(call: Call, failed: Failed) -> Any:
    """What the call returns, or what `failed` makes of its error. It raises nothing, because the loop would wait for
    the answer for ever."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - it is the answer
        return failed(error)
    except BaseException as error:
        log.exception("a call of the pool raised %s; its thread continues: %s", type(error).__name__, call)
        return failed(RuntimeError(f"{type(error).__name__}: {error}"))


def _thread(name: str, run: Callable[[], None]) -> Thread:
    return Thread(target=run, name=name, daemon=True)
