"""Numbers as people read them. Decisions compare the exact ones. What is shown is rounded to the side on which the
exact number is of its limit, so that it never contradicts the decision."""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

Number = int | float | Decimal


def rounded_up(number: Number, digits: int = 0) -> float:
    """For what is left, or exceeds its limit. A whole number is an int."""
    return _rounded(number, digits, ROUND_CEILING)


def rounded_down(number: Number, digits: int = 0) -> float:
    """For what is within its limit, or not enough yet. A whole number is an int."""
    return _rounded(number, digits, ROUND_FLOOR)


def second_after(moment: datetime) -> datetime:
    """The whole second in which it is over."""
    return (moment + timedelta(seconds=1) - timedelta.resolution).replace(microsecond=0)


def minute_after(moment: datetime) -> datetime:
    """The whole minute in which it is over."""
    return (moment + timedelta(minutes=1) - timedelta.resolution).replace(second=0, microsecond=0)


def _rounded(number: Number, digits: int, how: str) -> float:
    found = Decimal(str(number)).quantize(Decimal(1).scaleb(-digits), how)
    return int(found) if found == found.to_integral_value() else float(found)
