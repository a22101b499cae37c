"""The direction in which an absolute number of replicas may move a workload: the parameter `direction` of rules. Pure.

A number that was meant to add replicas must not remove some from a workload that has grown since. So a rule that says
nothing may only add.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    ANY = "any"

    def permits(self, current: int, desired: int) -> bool:
        """Whether a rule may change `current` replicas to another number."""
        return self is Direction.ANY or self is (Direction.UP if desired > current else Direction.DOWN)


def direction_of(params: Mapping[str, Any]) -> Direction:
    return Direction(params.get("direction", Direction.UP))


def without(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a rule as a direct request has them: the direction of a rule does not apply to it."""
    return {name: value for name, value in params.items() if name != "direction"}


def problem(value: Any) -> str:
    """What is wrong with a direction; empty if nothing is."""
    return "" if value in tuple(Direction) else f"The direction is one of {', '.join(Direction)}."
