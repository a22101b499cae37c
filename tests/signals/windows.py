"""What the last report of a window makes of the next one: the table of docs/signals.md as a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

DELAY, KNOWN = 60.0, 86_400.0  # seconds


class Judgement(Enum):
    NEW = auto()  # it changes a signal, or opens one
    REPEAT = auto()  # it changes nothing
    LATE = auto()  # a beginning whose end is stored: it is stored, too, and changes no signal


@dataclass(frozen=True)
class Report:
    """One that was stored."""

    firing: bool
    at: float
    late: bool = False


def judge(reports: Sequence[Report], firing: bool, now: float, *, is_open: bool, opened_at: float | None) -> Judgement:
    """`reports` of this window, in their order. `is_open`: whether the signal of the last one is. `opened_at`: when the
    open signal of the problem was opened."""
    if not reports or (now - reports[-1].at >= KNOWN and not is_open):
        return Judgement.NEW
    last = reports[-1]
    age = now - last.at
    begun = last.firing and not last.late
    if not firing:
        reopened = opened_at is not None and opened_at >= last.at + DELAY
        return Judgement.NEW if begun or age >= KNOWN or reopened else Judgement.REPEAT
    if begun:
        return Judgement.REPEAT
    if age >= DELAY:
        return Judgement.NEW
    if last.late:
        return Judgement.REPEAT
    before = reports[-2] if len(reports) > 1 else None
    return Judgement.NEW if before and before.firing and not before.late else Judgement.LATE
