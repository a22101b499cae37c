"""Calls to the network, beside the loop. A thread of the pool calls the cluster or the policy engine, and nothing else;
what it learns is a value that the loop collects."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import Any, Protocol

log = logging.getLogger(__name__)

Call = Callable[[], Any]
RESERVED = 2  # threads beside the others, for direct actions
LOST = object()  # in place of the answer of a call that raised an error


class Pool(Protocol):
    """`under_way` counts the calls that were submitted and whose answers were not collected yet."""

    under_way: int

    def submit(self, call: Call, *, reserved: bool = False) -> None:
        """The call returns its answer and raises nothing. `reserved`: if all threads are busy, a reserved one that is
        free makes it."""

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
        self._count = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="call")
        self._reserved = ThreadPoolExecutor(RESERVED, thread_name_prefix="reserved-call")
        self._free_reserved = Semaphore(RESERVED)

    def submit(self, call: Call, *, reserved: bool = False) -> None:
        self.under_way += 1
        is_busy = self.under_way > self._count
        # No queue grows before the few reserved threads: each call has to be made within a lease.
        if reserved and is_busy and self._free_reserved.acquire(blocking=False):
            self._reserved.submit(self._run_reserved, call)
        else:
            self._threads.submit(self._run, call)

    def answers(self) -> Iterator[Any]:
        while True:
            try:
                answer = self._arrived.get_nowait()
            except Empty:
                return
            self.under_way -= 1
            if answer is not LOST:
                yield answer

    def close(self) -> None:
        for threads in (self._threads, self._reserved):
            threads.shutdown(wait=True, cancel_futures=True)

    def _run_reserved(self, call: Call) -> None:
        try:
            self._run(call)
        finally:
            self._free_reserved.release()

    def _run(self, call: Call) -> None:
        answer = LOST
        try:
            answer = call()
        except BaseException:
            log.exception("a call of the pool raised an error, so it has no answer: %s", call)
        self._arrived.put(answer)
        self._on_answer()
