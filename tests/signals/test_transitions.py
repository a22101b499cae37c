"""Every transition of a signal: the row before it, and the row after it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from signals import transitions
from signals.lib.clock import database_now
from signals.lib.notifications import connect, parse
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.transitions import Transition
from tests.kit.signals import anomaly, post, wait
from tests.kit.web import heard

pytestmark = pytest.mark.django_db
S = SignalState
LATER = datetime(2040, 1, 1, tzinfo=UTC)
BUSY = (Reason.TARGET_BUSY, "Another action is active.")


def pending(name: str = "erp-simulator") -> Signal:
    [receipt] = post(anomaly(name))
    return Signal.objects.get(pk=receipt.signal_id)


def row(signal: Signal) -> Signal:
    return Signal.objects.get(pk=signal.pk)


@pytest.mark.parametrize(
    ("make", "state", "reason", "closed", "errors"),
    [
        (transitions.admit, S.ADMITTED, "", False, 0),
        (lambda one: transitions.deny(one, *BUSY), S.DENIED, BUSY[0], True, 0),
        (lambda one: transitions.ignore(one, Reason.NO_RULE, "none"), S.IGNORED, Reason.NO_RULE, True, 0),
        (
            lambda one: transitions.fail(one, Reason.PROCESSING_ERROR, "a defect"),
            S.FAILED,
            Reason.PROCESSING_ERROR,
            True,
            0,
        ),
        (lambda one: transitions.defer(one, *BUSY, LATER), S.PENDING, BUSY[0], False, 0),
        (
            lambda one: transitions.retry(one, Reason.PROCESSING_ERROR, "a defect", 4),
            S.PENDING,
            Reason.PROCESSING_ERROR,
            False,
            1,
        ),
    ],
    ids=["admit", "deny", "ignore", "fail", "defer", "retry"],
)
def test_a_transition_stores_its_state_and_reason(
    make: Callable[[Signal], Transition], state: SignalState, reason: str, closed: bool, errors: int
) -> None:
    signal = pending()

    [stored] = transitions.store([make(signal)])

    found = row(signal)
    assert stored.signal is signal
    assert (found.state, found.reason, found.errors) == (state, reason, errors)
    assert (found.closed_at is not None) == closed
    assert found.message == stored.message
    assert signal.state == state


def test_a_deferred_signal_is_due_at_the_end_of_its_deferral() -> None:
    signal = pending()

    transitions.store([transitions.defer(signal, *BUSY, LATER)])

    assert row(signal).not_before == LATER
    assert Signal.due("default", 9) == []


def test_a_retried_signal_is_due_after_its_delay() -> None:
    signal = pending()

    transitions.store([transitions.retry(signal, Reason.PROCESSING_ERROR, "a defect", 30)])

    # `last_seen_at` is of the statement that stored it, a moment before.
    delay = row(signal).not_before - row(signal).last_seen_at
    assert timedelta(seconds=30) <= delay < timedelta(minutes=1)


@pytest.mark.parametrize("make", [transitions.admit, lambda one: transitions.defer(one, *BUSY, LATER)])
def test_a_transition_loses_against_a_signal_that_is_not_pending(make: Callable[[Signal], Transition]) -> None:
    signal = pending()
    post(anomaly("erp-simulator", firing=False))
    before = Signal.objects.values().get()

    assert transitions.store([make(signal)]) == []
    assert Signal.objects.values().get() == before
    assert signal.state == S.PENDING


def test_a_batch_stores_all_but_those_that_were_lost() -> None:
    admitted, resolved, deferred = pending("a"), pending("b"), pending("c")
    post(anomaly("b", firing=False))
    moves = [
        transitions.admit(admitted),
        transitions.admit(resolved),
        transitions.defer(deferred, *BUSY, LATER),
    ]

    assert transitions.store(moves) == [moves[0], moves[2]]
    assert [row(one).state for one in (admitted, resolved, deferred)] == [S.ADMITTED, S.RESOLVED, S.PENDING]
    assert transitions.store([]) == []


@pytest.mark.django_db(transaction=True)
def test_a_batch_sends_one_notification() -> None:
    signals = [pending(name) for name in "abc"]
    with connect() as session:
        session.execute("LISTEN smartops")

        transitions.store([transitions.admit(one) for one in signals])

        [payload] = heard(session)
        assert sorted(parse(payload)) == sorted(("signal", str(one.pk)) for one in signals)


def test_the_time_that_a_signal_waits_for_smartops_is_added_up_until_it_is_reported_again() -> None:
    signal = pending()

    def defer(reason: str, seconds: float) -> Any:
        transitions.store([transitions.defer(row(signal), reason, "", database_now() + timedelta(seconds=seconds))])
        return pytest.approx(row(signal).kept_seconds, abs=9)  # the test takes its time too

    wait(100)  # it was due at once
    assert defer("CooldownActive", 30) == 100
    wait(50)  # due for 20 s
    assert defer("CooldownActive", 60) == 120
    wait(60)
    assert defer("NamespaceUnreadable", 60) == 180
    wait(60)
    assert defer("CooldownActive", 60) == 180
    post(anomaly("erp-simulator"))
    assert row(signal).kept_seconds == 0
    wait(70)  # due for 10 s
    assert defer("CooldownActive", 60) == 10
