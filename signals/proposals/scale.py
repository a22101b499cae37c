"""SCALE: sets the number of replicas, or changes it by a number.

Parameters `{"replicas": n}` or `{"delta": n}`; change `{"replicas": n}`.
"""

from typing import Any

from signals.proposals.paths import REPLICAS
from signals.proposals.types import Before, Change, Params

event = "Scaled"


def problem(params: Any) -> str:
    match params:
        case {"delta": int(delta), **rest} if not rest and not isinstance(delta, bool):
            return "" if delta else "A delta of 0 changes nothing."
        case {"replicas": int(replicas), **rest} if not rest and not isinstance(replicas, bool):
            return "" if replicas >= 0 else "The number of replicas cannot be negative."
    return 'SCALE takes {"delta": n} or {"replicas": n}, with an integer n.'


def refusal(params: Any, prefixes: tuple[str, ...] = (), containers: tuple[str, ...] | None = None) -> str:
    return ""


def fields(params: Params) -> tuple[str, ...]:
    return (REPLICAS,)


def replicas(params: Params, current: int | None) -> int | None:
    if "replicas" in params:
        return int(params["replicas"])
    return None if current is None else current + int(params["delta"])


def waits_for_pods(params: Params) -> bool:
    """No: a paused Deployment is scaled all the same."""
    return False


def describe(params: Params) -> str:
    return f"Scale to {params['replicas']}" if "replicas" in params else f"Scale by {params['delta']:+d}"


def done(before: Before, change: Change) -> str:
    return f"Scaled from {before['replicas']} to {change['replicas']} replicas"


def changes(before: Before, change: Change) -> list[tuple[str, str, str]]:
    return [(REPLICAS, str(before["replicas"]), str(change["replicas"]))]
