"""The arithmetic of a rolling update. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Size:
    """The desired and the available pods of a ReplicaSet."""

    replicas: int
    available: int


def fenceposts(strategy: dict[str, Any], desired: int) -> tuple[int, int]:
    """maxSurge (rounded up) and maxUnavailable (rounded down) in pods; never both 0. Recreate has neither."""
    rolling = strategy.get("rollingUpdate")
    if not rolling:
        return 0, desired
    surge, unavailable = (
        in_pods(rolling["maxSurge"], desired, up=True),
        in_pods(rolling["maxUnavailable"], desired, up=False),
    )
    return surge, min(unavailable if surge or unavailable else 1, desired)


def rolling_step(desired: int, surge: int, unavailable: int, new: Size, old: Sequence[Size]) -> tuple[int, list[int]]:
    """The next sizes of the new and of the old ReplicaSets (oldest first). A step scales up the new one or scales down
    the old ones; if nothing changes, the rollout waits for pods or is complete."""
    sizes = [one.replicas for one in old]
    total = new.replicas + sum(sizes)
    if new.replicas > desired:
        return desired, sizes
    if new.replicas < desired and total < desired + surge:
        return new.replicas + min(desired + surge - total, desired - new.replicas), sizes
    removable = total - (desired - unavailable) - (new.replicas - new.available)
    for index, one in enumerate(old):  # what is not available costs nothing to remove
        cut = max(0, min(one.replicas - one.available, removable))
        sizes[index] -= cut
        removable -= cut
    spare = min(removable, new.available + sum(one.available for one in old) - (desired - unavailable))
    for index in range(len(sizes)):
        cut = max(0, min(sizes[index], spare))
        sizes[index] -= cut
        spare -= cut
    return new.replicas, sizes


def in_pods(bound: int | str, desired: int, *, up: bool) -> int:
    """A number unchanged; a percentage of `desired` rounded up or down."""
    if isinstance(bound, int):
        return bound
    share = int(bound.removesuffix("%")) * desired
    return -(-share // 100) if up else share // 100
