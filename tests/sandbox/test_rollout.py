import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.dev.sandbox.kubelet import duration
from smartops.dev.sandbox.rollout import Size, fenceposts, rolling_step


@st.composite
def sizes(draw: st.DrawFn) -> Size:
    replicas = draw(st.integers(0, 12))
    return Size(replicas, draw(st.integers(0, replicas)))


@given(st.integers(0, 10), st.integers(0, 5), st.integers(0, 5), sizes(), st.lists(sizes(), max_size=3))
def test_a_step_keeps_to_its_bounds(desired: int, surge: int, unavailable: int, new: Size, old: list[Size]) -> None:
    grown, shrunk = rolling_step(desired, surge, unavailable, new, old)
    before, after = new.replicas + sum(one.replicas for one in old), grown + sum(shrunk)
    assert all(0 <= size <= one.replicas for size, one in zip(shrunk, old, strict=True))
    assert after <= max(before, desired + surge)
    # Only what is not available may go beyond maxUnavailable: of the old ReplicaSets it goes first.
    kept = min(new.available, grown) + sum(min(one.available, size) for one, size in zip(old, shrunk, strict=True))
    available = new.available + sum(one.available for one in old)
    if new.replicas <= desired:
        assert kept >= min(available, desired - unavailable)


@given(st.integers(0, 10), st.integers(0, 5), st.integers(0, 5), sizes(), st.lists(sizes(), max_size=3))
def test_steps_end_with_the_new_pods_only(
    desired: int, surge: int, unavailable: int, new: Size, old: list[Size]
) -> None:
    if surge == 0 and unavailable == 0:
        unavailable = 1
    for _ in range(100):
        grown, shrunk = rolling_step(desired, surge, unavailable, new, old)
        new, old = Size(grown, grown), [Size(size, size) for size in shrunk]  # all that exist become available
    assert new.replicas == desired
    assert not any(one.replicas for one in old)


@pytest.mark.parametrize(
    ("surge", "unavailable", "desired", "expected"),
    [
        ("25%", "25%", 2, (1, 0)),
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 10, (3, 2)),
        ("25%", "25%", 1, (1, 0)),
        (0, "25%", 1, (0, 1)),
        ("0%", 0, 3, (0, 1)),
        ("100%", 0, 3, (3, 0)),
        (1, 5, 3, (1, 3)),
        ("25%", "25%", 0, (0, 0)),
    ],
)
def test_shares_round_up_for_surge_and_down_for_unavailable(
    surge: int | str, unavailable: int | str, desired: int, expected: tuple[int, int]
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert fenceposts(strategy, desired) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("5s", 5),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("0s", 0),
        ("0", 0),
        ("", 7),
        ("5", 7),
        ("soon", 7),
        ("-1s", 7),
    ],
)
def test_durations_are_written_as_in_go(text: str, seconds: float) -> None:
    assert duration(text, 7) == pytest.approx(seconds)
