"""The service of these tests, and what holds SmartOps back from it."""

from collections.abc import Callable

from tests.conformance.loop import Loop
from tests.kit.client import Object
from tests.kit.processes import until

SERVICE = "erp-simulator"
Runs = Callable[..., Object]


def held_back(loop: Loop, signal: str) -> str:
    """Why nothing comes of it. The reconciler's view may lag: then its action is what was held back."""
    found = loop.decided(signal)
    if found["state"] == "admitted":
        [action] = found["actions"]
        until(lambda: bool(loop.action(action["id"])["reason"]))
        found = loop.action(action["id"])
    return str(found["reason"])
