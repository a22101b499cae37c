from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.figures import minute_after, rounded_down, rounded_up, second_after


@pytest.mark.parametrize(
    ("number", "digits", "up", "down"),
    [
        (900.04, 1, 900.1, 900), (900.04, 0, 901, 900), (900.0, 1, 900, 900), (1.1, 1, 1.1, 1.1), (0.3, 1, 0.3, 0.3),
        (-2.0, 1, -2, -2), (-0.04, 1, 0, -0.1), (0.000001, 1, 0.1, 0), (59.96, 1, 60, 59.9), (59.96, 0, 60, 59),
        (7, 1, 7, 7), (Decimal(101) / 2, 1, 50.5, 50.5), (Decimal(200) / 3, 1, 66.7, 66.6), (10**12, 1, 10**12, 10**12),
    ],
)  # fmt: skip
def test_a_number_is_rounded_to_the_side_that_is_asked_for(
    number: float | Decimal, digits: int, up: float, down: float
) -> None:
    assert (rounded_up(number, digits), rounded_down(number, digits)) == (up, down)


@given(st.floats(-1e6, 1e6), st.integers(-(10**6), 10**6))
def test_a_rounded_number_is_on_the_side_of_the_limit_on_which_the_exact_one_is(number: float, limit: int) -> None:
    assert rounded_up(number, 1) > limit if number > limit else rounded_down(number, 1) <= limit
    assert rounded_down(number) < limit if number < limit else rounded_up(number) >= limit


@pytest.mark.parametrize(
    ("at", "second", "minute"),
    [
        (timedelta(0), "12:00:00", "12:00:00"),
        (timedelta(microseconds=1), "12:00:01", "12:01:00"),
        (timedelta(seconds=1), "12:00:01", "12:01:00"),
        (timedelta(seconds=59.999999), "12:01:00", "12:01:00"),
        (timedelta(seconds=60), "12:01:00", "12:01:00"),
    ],
)
def test_the_time_that_is_shown_is_not_before_the_end(at: timedelta, second: str, minute: str) -> None:
    moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC) + at

    assert (f"{second_after(moment):%H:%M:%S}", f"{minute_after(moment):%H:%M:%S}") == (second, minute)
