"""A token bucket bounds how often something is done, over any time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.publish.pace import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    clock = Clock()
    bucket = TokenBucket(20.0, 3, clock)
    for _ in range(3):
        assert bucket.wait() == 0.0
        bucket.take()

    assert bucket.wait() == pytest.approx(0.05)
    clock.now += 0.05
    assert bucket.wait() == pytest.approx(0.0)


@given(
    st.floats(0.1, 100.0), st.integers(1, 60), st.lists(st.floats(0.0, 2.0), min_size=1, max_size=200)
)  # seconds between attempts
def test_no_more_is_done_than_the_rate_and_one_burst_allow(rate: float, burst: int, pauses: list[float]) -> None:
    clock, done = Clock(), 0
    bucket = TokenBucket(rate, burst, clock)
    for pause in pauses:
        clock.now += pause
        if bucket.wait() == 0.0:
            bucket.take()
            done += 1

    assert done <= burst + rate * (clock.now - 100.0) + 1e-6


@given(st.floats(0.1, 100.0), st.integers(1, 60))
def test_whoever_waits_as_long_as_it_says_gets_a_token(rate: float, burst: int) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock)
    for _ in range(100):
        clock.now += bucket.wait() + 1e-9
        assert bucket.wait() == 0.0
        bucket.take()
