from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.web.throttle import FORGET, NONE, Allowance, Failures, counted, wait

NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)
THREE = Allowance(3, timedelta(seconds=10))
SECOND = timedelta(seconds=1)


def failures(count: int, ago: timedelta = NONE, allowance: Allowance = THREE) -> Failures:
    return Failures(allowance, count, NOW - ago)


@pytest.mark.parametrize(
    ("stored", "seconds"),
    [
        ([], 0),
        ([failures(0)], 0),
        ([failures(3)], 0),
        ([failures(0, ago=-SECOND)], 0),
        ([failures(4)], 1),
        ([failures(5)], 2),
        ([failures(6)], 4),
        ([failures(7)], 8),
        ([failures(8)], 10),
        ([failures(10_000)], 10),
        ([failures(8, ago=9 * SECOND)], 1),
        ([failures(8, ago=10 * SECOND)], 0),
        ([failures(8, ago=FORGET)], 0),
        ([failures(4), failures(6), failures(0)], 4),
    ],
)
def test_each_failure_beyond_the_free_ones_doubles_the_pause(stored: list[Failures], seconds: int) -> None:
    assert wait(stored, NOW) == seconds * SECOND


@pytest.mark.parametrize(("ago", "left"), [(NONE, 7), (FORGET - SECOND, 7), (FORGET, 0), (2 * FORGET, 0)])
def test_failures_are_forgotten_after_an_hour(ago: timedelta, left: int) -> None:
    assert counted(7, NOW - ago, NOW) == left


@given(st.integers(0, 10**9), st.integers(0, 100), st.integers(1, 10**6))
def test_a_pause_is_never_longer_than_the_longest(count: int, free: int, longest: int) -> None:
    assert NONE <= Allowance(free, longest * SECOND).pause(count) <= longest * SECOND
