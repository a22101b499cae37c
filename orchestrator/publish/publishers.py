"""The threads of the publishers."""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Thread
from uuid import uuid4

from django.db import DatabaseError, InterfaceError

from orchestrator.publish.subscription import Subscription
from orchestrator.publish.types import Publisher

POLL = 1.0  # seconds: the guarantee behind `wake`


class Publishers:
    """Publishes the timeline of one cluster: a thread for each publisher, so that none waits for another. Any number of
    processes may do so side by side; of each publisher, one process at a time works."""

    def __init__(self, cluster: str, publishers: Iterable[Publisher]) -> None:
        process = f"{socket.gethostname()}/{os.getpid()} {uuid4().hex[:8]}"  # a pid may be used again
        self._followers = [_Follower(Subscription(cluster, one, process), one.name) for one in publishers]

    def start(self) -> None:
        """What is recorded after this returns is published, also by a new publisher."""
        for follower in self._followers:
            follower.start()

    def wake(self) -> None:
        """Something may have been recorded. From any thread; never waits."""
        for follower in self._followers:
            follower.woken.set()

    def stop(self, grace: float = 2.0) -> None:
        """Publishes for up to `grace` seconds what is recorded already. What is left, another process will publish, or
        the next one."""
        deadline = time.monotonic() + grace
        for follower in self._followers:
            follower.stop(deadline)
        for follower in self._followers:
            follower.join(max(0.0, deadline - time.monotonic()))


class _Follower(Thread):
    def __init__(self, subscription: Subscription, name: str) -> None:
        super().__init__(name=f"publish {name}", daemon=True)
        self.woken = Event()
        self._subscription, self._stopping, self._deadline = subscription, Event(), 0.0

    def start(self) -> None:
        with suppress(DatabaseError, InterfaceError):  # the first turn tries again
            self._subscription.begin()
        super().start()

    def stop(self, deadline: float) -> None:
        self._deadline = deadline
        self._stopping.set()
        self.woken.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.woken.clear()
            pause = self._subscription.turn()
            if self._subscription.up_to_date:
                self.woken.wait(POLL)
            # After the wake: the loop has just been woken, too. What it records until then is read at once.
            self._stopping.wait(pause)
        self._finish()

    def _finish(self) -> None:
        """An entry that cannot be read yet, or not be sent, is waited for as long as there is time."""
        while (pause := self._subscription.turn()) < self._deadline - time.monotonic():
            if self._subscription.up_to_date:
                break
            time.sleep(pause)
        self._subscription.end()
