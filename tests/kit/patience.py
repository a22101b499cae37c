"""How long a test waits. No test may depend on how fast the machine is, or on what else runs there."""

from collections.abc import Callable
from time import monotonic, sleep

PATIENCE = 120.0  # seconds that a busy machine may take for what takes none
WAIT = f"wait={PATIENCE:.0f}"  # as the header Prefer has it


def eventually(
    holds: Callable[[], bool],
    otherwise: str = "it did not come to hold in time",
    within: float = PATIENCE,
    pause: float = 0.02,
) -> None:
    """Returns when it holds; looks fifty times a second, unless a longer `pause` is asked for. For a row of the test's
    database, `processes.until` looks when it changes. `otherwise` is what the test says if it does not hold in time."""
    deadline = monotonic() + within
    while not holds():
        assert monotonic() < deadline, otherwise
        sleep(pause)
