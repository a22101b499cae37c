"""The retry policy, for every class of error of the cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s import errors
from orchestrator.reconciler.retry import (
    BASE_DELAY,
    MAX_ATTEMPTS,
    MAX_DELAY,
    MAX_RETRY_AFTER,
    Fail,
    Retry,
    Review,
    next_move,
)
from signals.reasons import Reason

SAID = "what the API server said"
EVERY: set[type[errors.ClusterError]] = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ClusterError) and kind is not errors.ClusterError
}
CONFLICT, AWAY, THROTTLED = Reason.CONFLICT, Reason.CLUSTER_UNREACHABLE, Reason.CLUSTER_THROTTLED
# Of a write: what follows if no earlier copy of it is unanswered, and what if one is.
WRITES: dict[type[errors.ClusterError], tuple[object, object]] = {
    errors.Refused: (Reason.CLUSTER_REJECTED, Review),
    errors.NotFound: (Reason.TARGET_GONE, Review),
    errors.Forbidden: (Reason.CLUSTER_FORBIDDEN, Review),
    errors.Invalid: (Reason.CLUSTER_REJECTED, Review),
    errors.Expired: (Reason.CLUSTER_REJECTED, Review),
    errors.DisruptionBudget: (Reason.CLUSTER_REJECTED, Review),
    errors.Conflict: (Retry, CONFLICT),
    errors.Throttled: (Retry, THROTTLED),
    errors.Unreached: (Retry, AWAY),
    errors.Unknown: (Retry, AWAY),
    errors.TimedOut: (Retry, AWAY),
}
# Of a read before a write: a refusal is final only if nothing is unanswered.
READS = {
    errors.Forbidden: Reason.CLUSTER_FORBIDDEN,
    errors.Invalid: Reason.CLUSTER_REJECTED,
}


def test_the_tables_have_every_class_of_error() -> None:
    assert set(WRITES) == EVERY


@pytest.mark.parametrize("kind", sorted(EVERY, key=str))
def test_a_failed_write_is_repeated_fails_or_is_reviewed(kind: type[errors.ClusterError]) -> None:
    clear, unclear = WRITES[kind]

    move = next_move(kind(SAID), 1, False, 1.0)
    ambiguous = next_move(kind(SAID), 1, True, 1.0)

    if clear is Retry:
        assert move == ambiguous == Retry(unclear, SAID, 2 * BASE_DELAY)  # type: ignore[arg-type]
    else:
        assert move == Fail(clear, SAID)  # type: ignore[arg-type]
        assert isinstance(ambiguous, Review)
        assert SAID in ambiguous.message


@pytest.mark.parametrize("kind", sorted(EVERY, key=str))
def test_a_failed_read_says_nothing_about_the_write(kind: type[errors.ClusterError]) -> None:
    move = next_move(kind(SAID), 1, False, 1.0, reading=True)
    ambiguous = next_move(kind(SAID), 1, True, 1.0, reading=True)

    reason = THROTTLED if kind is errors.Throttled else AWAY
    assert ambiguous == Retry(reason, SAID, 2 * BASE_DELAY)
    assert move == (Fail(READS[kind], SAID) if kind in READS else ambiguous)


@pytest.mark.parametrize(
    ("kind", "ambiguous", "expected"),
    [
        (errors.Conflict, False, Fail),
        (errors.Throttled, False, Fail),
        (errors.Unknown, True, Review),
        (errors.Unreached, True, Review),
        (errors.Unreached, False, Retry),  # its deadline ends it
        (errors.Unknown, False, Retry),
    ],
)
def test_the_last_attempt_ends_the_retries(
    kind: type[errors.ClusterError], ambiguous: bool, expected: type[Retry | Fail | Review]
) -> None:
    assert isinstance(next_move(kind(SAID), MAX_ATTEMPTS - 1, ambiguous, 1.0), Retry)

    move = next_move(kind(SAID), MAX_ATTEMPTS, ambiguous, 1.0)

    assert isinstance(move, expected)
    if isinstance(move, Fail):
        assert move.reason == Reason.RETRIES_EXHAUSTED


@given(st.integers(0, MAX_ATTEMPTS - 1), st.floats(0.5, 1.0), st.sampled_from([errors.Conflict, errors.Throttled]))
def test_delays_grow_up_to_a_bound_and_keep_their_jitter(
    attempts: int, jitter: float, kind: type[errors.ClusterError]
) -> None:
    move, next_one = (next_move(kind(SAID), number, False, jitter) for number in (attempts, min(attempts + 1, 9)))

    assert isinstance(move, Retry)
    assert isinstance(next_one, Retry)
    assert move.delay <= next_one.delay <= MAX_DELAY
    assert move.delay == pytest.approx(jitter * min(MAX_DELAY, BASE_DELAY * 2**attempts))


@pytest.mark.parametrize(("asked", "delay"), [(7.0, 7.0), (0.0, 0.0), (1e9, MAX_RETRY_AFTER)])
def test_the_retry_after_of_the_server_replaces_the_backoff(asked: float, delay: float) -> None:
    move = next_move(errors.Throttled(SAID, retry_after=asked), 3, False, 0.7)

    assert move == Retry(Reason.CLUSTER_THROTTLED, SAID, delay)
