"""SCALE: sets the number of replicas, or changes it by a number.

Parameters `{"replicas": n}` or `{"delta": n}`; change `{"replicas": n}`. A rule with an absolute number also says which
way it may move the workload: `{"replicas": n, "direction": "up" | "down" | "any"}`, by default up.
"""

from typing import Any

from signals.proposals import direction
from signals.proposals.direction import Direction
from signals.proposals.images import UNCHANGED, Images, Irreversible
from signals.proposals.paths import REPLICAS
from signals.proposals.types import Before, Change, Params

event = "Scaled"
nouns = ("scaling", "scalings")


def problem(params: Any) -> str:
    match params:
        case {"delta": int(delta), **rest} if not rest and not isinstance(delta, bool):
            return "" if delta else "A delta of 0 changes nothing."
        case {"replicas": int(replicas), **rest} if not rest.keys() - {"direction"} and not isinstance(replicas, bool):
            if replicas < 0:
                return "The number of replicas cannot be negative."
            return direction.problem(rest["direction"]) if rest else ""
    return 'SCALE takes {"delta": n} or {"replicas": n, "direction": "up"}, with an integer n.'


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
    if "delta" in params:
        return f"Scale by {params['delta']:+d}"
    way = params.get("direction", Direction.ANY)
    return f"Scale to {params['replicas']}" if way == Direction.ANY else f"Scale {way} to {params['replicas']}"


def done(before: Before, change: Change) -> str:
    return f"Scaled from {before['replicas']} to {change['replicas']} replicas"


def patch(change: Change) -> Params:
    return {"spec": {"replicas": change["replicas"]}}


def repeated(params: Params, change: Change) -> Params:
    return {"replicas": change["replicas"]} if "replicas" in change else direction.without(params)


def inverse(change: Change, images: Images) -> Params | Irreversible:
    before = images.before.get(REPLICAS)
    if before is None:
        return Irreversible("The number of replicas before the change is unknown.")
    return UNCHANGED if before == images.after.get(REPLICAS) else {"replicas": before}
