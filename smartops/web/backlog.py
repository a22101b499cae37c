"""Whether the client of a websocket takes what it is sent. The edge knows it, and says it in the scope of ASGI."""

from typing import Any

EXTENSION = "smartops.is_behind"  # a function without parameters


def is_behind(scope: Any) -> bool:
    """False also where another server runs the application."""
    asked = scope.get("extensions", {}).get(EXTENSION)
    return asked is not None and bool(asked())
