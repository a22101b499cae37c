"""What a benchmark finds: a figure, its baseline, and what was to be reached."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Literal

COLUMNS = ("benchmark", "on", "figure", "baseline", "ratio", "to reach", "reached")


@dataclass(frozen=True, slots=True)
class Target:
    of: Literal["value", "ratio"]
    sign: Literal["≥", "≤"]
    number: float

    def reached(self, number: float) -> bool:
        return number >= self.number if self.sign == "≥" else number <= self.number


@dataclass(frozen=True, slots=True)
class Figure:
    """`what` was measured and `against` what; both in `unit`. `ratio`: of the two, where one run has several pairs the
    median of theirs. Without a baseline or a target it is there to be known."""

    what: str
    value: float
    unit: str
    against: str = ""
    baseline: float | None = None
    ratio: float | None = None
    target: Target | None = None

    def row(self, benchmark: str, on: str = "") -> str:
        """`on`: the cluster, where there was one."""
        baseline = "" if self.baseline is None else f"{self.against}: {_amount(self.baseline, self.unit)}"
        to_reach = reached = ""
        if self.target is not None:
            measured = self.value if self.target.of == "value" else self.ratio
            assert measured is not None
            unit = self.unit if self.target.of == "value" else "x"
            to_reach, reached = f"{self.target.sign} {_amount(self.target.number, unit)}", "no"
            reached = "yes" if self.target.reached(measured) else "no"
        ratio = "" if self.ratio is None else _amount(self.ratio, "x")
        return _row(benchmark, on, f"{self.what}: {_amount(self.value, self.unit)}", baseline, ratio, to_reach, reached)


def heading() -> str:
    return f"{_row(*COLUMNS)}\n{_row(*('---' for _ in COLUMNS))}"


def machine(postgresql: str) -> str:
    with open("/proc/meminfo") as memory:  # noqa: PTH123 - no file of ours
        gibibytes = int(memory.readline().split()[1]) / 2**20
    return (
        f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start; "
        f"Linux {platform.release()}, Python {platform.python_version()}, PostgreSQL {postgresql} (durable)"
    )


def median_ratio(pairs: Iterable[tuple[float, float]]) -> tuple[float, float, float]:
    """The median of the first ones, of the second ones, and of the ratios of each pair."""
    rounds = list(pairs)
    return (
        median(one for one, _ in rounds),
        median(other for _, other in rounds),
        median(one / other for one, other in rounds),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed."""
    return sorted(values)[ceil(share * len(values)) - 1]


def _amount(number: float, unit: str) -> str:
    digits = 0 if abs(number) >= 100 or number == int(number) else 1 if abs(number) >= 10 else 2
    separator = "" if unit in ("", "x", "/s") else " "
    return f"{number:,.{digits}f}{separator}{unit}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
