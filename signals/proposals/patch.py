"""PATCH: a strategic merge patch of the fields on the allowlist.

Parameters and change `{"patch": {...}}`. A rule with a patch of `spec.replicas` may also have a `direction`, as with
SCALE. The guardrails also evaluate a patch that the allowlist refuses, so the functions take any patch.
"""

from typing import Any

from signals.proposals import direction
from signals.proposals.images import Images, Irreversible
from signals.proposals.images import inverse as inverse_patch
from signals.proposals.patch_allowlist import forbidden
from signals.proposals.paths import mapping, touched
from signals.proposals.types import Before, Change, Params

event = "Patched"
nouns = ("patch", "patches")

_PARAMS = frozenset({"patch", "direction"})


def problem(params: Any) -> str:
    match params:
        case {"patch": {**patch}} if patch and params.keys() <= _PARAMS:
            if "direction" not in params:
                return ""
            if replicas(params, None) is None:
                return "A direction belongs to a patch of spec.replicas."
            return direction.problem(params["direction"])
    return 'PATCH takes {"patch": {…}}.'


def refusal(params: Any, prefixes: tuple[str, ...] = (), containers: tuple[str, ...] | None = None) -> str:
    refused = forbidden(mapping(params).get("patch"), prefixes, containers)
    return "" if refused is None else "{}: {}".format(*refused)


def fields(params: Params) -> tuple[str, ...]:
    return tuple(touched(mapping(params["patch"])))


def replicas(params: Params, current: int | None) -> int | None:
    value = _spec(params).get("replicas")
    return value if type(value) is int else None


def waits_for_pods(params: Params) -> bool:
    """Whether it patches the pod template, unless it also lets the controller replace pods: by resuming the Deployment,
    or by another update strategy."""
    spec = _spec(params)
    return "template" in spec and spec.get("paused", True) is True and "updateStrategy" not in spec


def describe(params: Params) -> str:
    first, *more = fields(params) or ("nothing",)
    return f"Patch {first} and {len(more)} more" if more else f"Patch {first}"


def done(before: Before, change: Change) -> str:
    return f"Patched {', '.join(fields(change))}"


def patch(change: Change) -> Params:
    return mapping(change["patch"])


def repeated(params: Params, change: Change) -> Params:
    return direction.without(params)


def inverse(change: Change, images: Images) -> Params | Irreversible:
    restored = inverse_patch(patch(change), images)
    return restored if isinstance(restored, Irreversible) else {"patch": restored}


def _spec(params: Params) -> Params:
    return mapping(mapping(params["patch"]).get("spec"))
