"""How long a test waits. No test may depend on how fast the machine is, or on what else runs there."""

from collections.abc import Callable
from time import monotonic, sleep

PATIENCE = 120.0  # seconds that a busy machine may take for what takes none


def eventually(holds: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = monotonic() + within
    while not holds():
        assert monotonic() < deadline, "it did not come to hold in time"
        sleep(0.05)
