"""The containers of a pod: a patch may change their requests and limits, within bounds, and nothing else. Pure."""

import re
from fractions import Fraction
from typing import Any

from signals.proposals.patch_allowlist.rules import Prefixes, Refusal, Rule, anything, fields, first, join, names

# The most that one container may request, or be limited to. What needs more is sized by hand.
MOST = {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "1Ti"}
QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i))?")
SUFFIXES = {
    **{suffix: Fraction(1, 1000**power) for power, suffix in enumerate("mun", 1)},
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", 1)},
}


def containers(prefixes: Prefixes) -> Rule:
    amounts = names(lambda name, value: _amount(name, value, prefixes))
    container = fields(name=anything, resources=fields(limits=amounts, requests=amounts))

    def check(value: Any, path: str) -> Refusal | None:
        if refusal := container(value, path):
            return refusal
        if not isinstance(value.get("name"), str) or not value["name"]:
            return join(path, "name"), "it must name the container"
        return None if "resources" in value else (join(path, "resources"), "nothing else of a container can be changed")

    def check_all(value: Any, path: str) -> Refusal | None:
        if not isinstance(value, list) or not value:
            return path, "it must be a list of containers"
        if refusal := first(check, value, path):
            return refusal
        named = [one["name"] for one in value]
        twice = next((index for index, name in enumerate(named) if name in named[:index]), None)
        return None if twice is None else (f"{path}[{twice}].name", "the container is named twice")

    return check_all


def reordered(containers: Any, live: tuple[str, ...], path: str) -> Refusal | None:
    """A merge puts the containers of the patch into the order of the patch. They must be in the `live` order: the first
    container is the default of kubectl and of other tools."""
    position = -1
    for index, name in enumerate(container["name"] for container in containers):
        if name not in live:
            return f"{path}[{index}].name", f"there is no container {name}"
        if live.index(name) < position:
            return path, f"the containers must be in their order in the workload: {', '.join(live)}"
        position = live.index(name)
    return None


def quantity(value: Any) -> Fraction | None:
    """The exact value of a quantity of Kubernetes, as `500m` or `1.5Gi`; None if it is not one."""
    if type(value) in (int, float):
        return Fraction(value) if abs(value) < 2**63 else None
    found = QUANTITY.fullmatch(value) if isinstance(value, str) and len(value) < 64 else None
    if found is None:
        return None
    number, exponent, suffix = found.groups()
    return Fraction(number) * (Fraction(10) ** int(exponent) if exponent else SUFFIXES[suffix] if suffix else 1)


def _amount(name: str, value: Any, prefixes: Prefixes) -> str:
    if name not in MOST and not name.startswith(prefixes):
        return f"only {', '.join(MOST)} can be changed"
    most = MOST.get(name, "1k")
    amount, bound = quantity(value), quantity(most)
    if amount is not None and bound is not None and 0 < amount <= bound:
        return ""
    return f"it must be a quantity above 0, at most {most}; null would remove the bound"
