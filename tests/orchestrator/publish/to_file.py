"""A publisher in one file: it appends a line for each entry. `python -m tests.orchestrator.publish.to_file PATH LINES`
publishes until it is stopped, or until it kills itself after that number of lines."""

import os
import signal
import sys
from pathlib import Path
from threading import Event

from prometheus_client import Counter

from orchestrator.publish.types import Entry, Ignored, Outcome, Published, Terms, TransitionEntry

DROPPED = Counter("lines_dropped", "Lines that were not written.")


class ToFile:
    name = "to-file"
    terms = Terms(rate=1000.0, burst=1000)
    dropped = DROPPED

    def __init__(self, path: Path, last: int = sys.maxsize) -> None:
        self._path, self._left = path, last

    def publish(self, entry: Entry) -> Outcome:
        if not isinstance(entry, TransitionEntry):
            return Ignored()
        with self._path.open("a") as file:
            file.write(f"{entry.target.name} {entry.to_state}\n")
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return Published()


def main(path: str, last: str) -> None:
    import django

    django.setup()
    from orchestrator.publish.publishers import Publishers

    over = Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    publishers = Publishers("default", [ToFile(Path(path), int(last))])
    publishers.start()
    print("started", flush=True)
    over.wait()
    publishers.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
