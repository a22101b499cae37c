"""What a token may post: so many signals per minute, and so many that wait."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st

from signals import actors, transitions
from signals.allowance import MARGIN, Exceeded, Quota, post
from signals.ingest import Receipt
from signals.models import Allowance, SettingsVersion, Signal
from signals.types import Observation
from tests.kit.signals import anomaly

pytestmark = pytest.mark.django_db

MANY = 10**6


def observed(count: int, prefix: str = "w") -> list[Observation]:
    return [anomaly(f"{prefix}{number}") for number in range(count)]


DETECTOR, ANOTHER = actors.token("detector"), actors.token("another")


def stored(results: list[Receipt | Exceeded]) -> list[bool]:
    return [isinstance(one, Receipt) for one in results]


def later(seconds: float) -> None:
    Allowance.objects.update(full_at=F("full_at") - timedelta(seconds=seconds))


def test_the_rate_grants_the_signals_of_a_minute_at_once_and_then_as_time_passes() -> None:
    quota = Quota(per_minute=12, waiting=MANY)

    assert stored(post(observed(10), DETECTOR, quota)) == [True] * 10
    results = post(observed(5, "x"), DETECTOR, quota)
    assert stored(results) == [True, True, False, False, False]
    assert results[-1] == Exceeded(rate=True, limit=12, retry_after=5)
    assert Signal.objects.count() == 12
    assert stored(post(observed(1, "y"), DETECTOR, quota)) == [False]
    later(5)
    assert stored(post(observed(2, "y"), DETECTOR, quota)) == [True, False]
    later(3600)
    assert stored(post(observed(20, "z"), DETECTOR, quota)) == [True] * 12 + [False] * 8
    assert stored(post(observed(1), ANOTHER, quota)) == [True]


@pytest.mark.parametrize(("score", "is_stored"), [(0.6, True), (0.9, False)])
def test_a_repeat_that_a_decision_holds_for_opens_no_signal_and_is_stored(score: float, is_stored: bool) -> None:
    within = {"score": [None, 0.8], "probability": None, "confidence": None}
    settings = SettingsVersion.objects.values_list("number", flat=True).first() or 0
    post([anomaly("a", score=0.6)], DETECTOR, Quota(MANY, MANY))
    Signal.objects.update(state="ignored", closed_at=Now(), holds={"settings": settings, "within": within})

    assert stored(post([anomaly("a", score=score)], ANOTHER, Quota(MANY, waiting=0))) == [is_stored]


def test_a_batch_above_the_rate_is_stored_in_part_also_as_the_first_post() -> None:
    assert stored(post(observed(30), DETECTOR, Quota(12, MANY))) == [True] * 12 + [False] * 18
    assert stored(post(observed(1), DETECTOR, Quota(12, MANY))) == [False]


def test_a_token_may_have_so_many_signals_that_wait() -> None:
    quota = Quota(MANY, waiting=3)

    results = post(observed(5), DETECTOR, quota)

    assert stored(results) == [True, True, True, False, False]
    assert results[-1] == Exceeded(rate=False, limit=3, retry_after=5)
    assert Signal.objects.count() == 3
    assert stored(post(observed(1, "x"), ANOTHER, quota)) == [True]


def test_reports_of_open_signals_and_ends_are_stored_when_no_other_signal_may_be_opened() -> None:
    quota = Quota(MANY, waiting=2)
    post(observed(2), DETECTOR, quota)

    end = anomaly("w0", firing=False)
    results = post([anomaly("x"), anomaly("w0"), end, anomaly("x", firing=False)], DETECTOR, quota)

    assert stored(results) == [False, True, True, True]
    assert stored(post(observed(2, "y"), DETECTOR, quota)) == [True, False]


def test_a_signal_that_was_decided_makes_room() -> None:
    quota = Quota(MANY, waiting=1)
    post(observed(1), DETECTOR, quota)
    transitions.store([transitions.ignore(Signal.objects.get(), "NoRule", "")])

    assert stored(post(observed(1, "x"), DETECTOR, quota)) == [True]


def test_the_waiting_signals_are_counted_only_when_the_limit_may_be_near() -> None:
    quota = Quota(MANY, waiting=MARGIN + 100)
    post(observed(1), DETECTOR, quota)
    assert Allowance.objects.get().spare == MARGIN + 99

    post(observed(50), DETECTOR, quota)
    assert Allowance.objects.get().spare == MARGIN + 49
    post(observed(50), DETECTOR, quota)
    assert Allowance.objects.get().spare == MARGIN  # counted anew: 50 wait, and 50 more may


def test_nothing_costs_nothing() -> None:
    assert post([], DETECTOR, Quota(1, 1)) == []
    assert not Allowance.objects.exists()


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 30)), max_size=12), st.integers(1, 20))
def test_a_post_is_granted_what_is_left_of_the_minute(posts: list[tuple[int, float]], per_minute: int) -> None:
    Allowance.objects.all().delete()
    left = float(per_minute)
    for many, pause in posts:
        granted = sum(stored(post([anomaly("w")] * many, DETECTOR, Quota(per_minute, MANY))))
        assert min(many, int(left)) <= granted <= min(many, int(left + 0.9))  # some time passes in the test itself
        later(pause)
        left = min(per_minute, left - granted + pause * per_minute / 60)
