"""The retry policy, for every class of error of the cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s import errors
from orchestrator.reconciler.retry import (
    BASE_DELAY,
    MAX_ATTEMPTS,
    MAX_DELAY,
    MAX_READS,
    MAX_RETRY_AFTER,
    READ_AFTER,
    Fail,
    Retry,
    Review,
    next_move,
    unapplied,
)
from signals.reasons import Reason

SAID = "what the API server said"
EVERY: set[type[errors.ClusterError]] = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ClusterError) and kind is not errors.ClusterError
}
AWAY, THROTTLED, ADMISSION = Reason.CLUSTER_UNREACHABLE, Reason.CLUSTER_THROTTLED, Reason.ADMISSION_UNAVAILABLE
# Of a write: the reason with which it is repeated, or with which it fails if no earlier copy of it is unanswered.
REPEATED: dict[type[errors.ClusterError], Reason] = {
    errors.AdmissionUnavailable: ADMISSION,
    errors.Conflict: Reason.CONFLICT,
    errors.Throttled: THROTTLED,
    errors.Unreached: AWAY,
    errors.Unknown: AWAY,
    errors.TimedOut: AWAY,
}
FINAL: dict[type[errors.ClusterError], Reason] = {
    errors.Refused: Reason.CLUSTER_REJECTED,
    errors.NotFound: Reason.TARGET_GONE,
    errors.Forbidden: Reason.CLUSTER_FORBIDDEN,
    errors.Invalid: Reason.CLUSTER_REJECTED,
    errors.Expired: Reason.CLUSTER_REJECTED,
    errors.DisruptionBudget: Reason.CLUSTER_REJECTED,
}
# Of a read before a write: a refusal is final only if nothing is unanswered.
READS = {
    errors.Forbidden: Reason.CLUSTER_FORBIDDEN,
    errors.Invalid: Reason.CLUSTER_REJECTED,
}


def test_the_tables_have_every_class_of_error() -> None:
    assert REPEATED.keys() | FINAL.keys() == EVERY


@pytest.mark.parametrize("ambiguous", [False, True])
@pytest.mark.parametrize("kind", sorted(REPEATED, key=str))
def test_a_write_that_may_succeed_later_is_repeated(kind: type[errors.ClusterError], ambiguous: bool) -> None:
    assert next_move(kind(SAID), 1, ambiguous, 1.0) == Retry(REPEATED[kind], SAID, 2 * BASE_DELAY)


@pytest.mark.parametrize("kind", sorted(FINAL, key=str))
def test_a_final_refusal_says_nothing_about_an_earlier_copy(kind: type[errors.ClusterError]) -> None:
    assert next_move(kind(SAID), 1, False, 1.0) == Fail(FINAL[kind], SAID)
    assert next_move(kind(SAID), 1, True, 1.0) == Retry(FINAL[kind], SAID, 2 * BASE_DELAY)


@pytest.mark.parametrize("kind", sorted(EVERY, key=str))
def test_a_failed_read_says_nothing_about_the_write(kind: type[errors.ClusterError]) -> None:
    move = next_move(kind(SAID), 1, False, 1.0, reading=True)
    ambiguous = next_move(kind(SAID), 1, True, 1.0, reading=True)

    reason = {errors.Throttled: THROTTLED, errors.AdmissionUnavailable: ADMISSION}.get(kind, AWAY)
    assert ambiguous == Retry(reason, SAID, 2 * BASE_DELAY)
    assert move == (Fail(READS[kind], SAID) if kind in READS else ambiguous)


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("kind", [errors.Unknown, errors.TimedOut])
def test_an_error_with_a_status_is_not_called_unreachable(kind: type[errors.ClusterError], reading: bool) -> None:
    move = next_move(kind(SAID, code=503), 1, False, 1.0, reading=reading)

    assert move == Retry(Reason.CLUSTER_ERROR, SAID, 2 * BASE_DELAY)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.Unreached(SAID), AWAY),
        (errors.AdmissionUnavailable(SAID, code=500), ADMISSION),
        (errors.Unknown(SAID, code=500), Reason.CLUSTER_ERROR),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_deadline_ends_the_retries_of_what_was_not_stored(error: errors.ClusterError, reason: Reason) -> None:
    assert next_move(error, 30, False, 1.0) == Retry(reason, SAID, MAX_DELAY)


@pytest.mark.parametrize("kind", [errors.Conflict, errors.Throttled])
def test_the_last_attempt_ends_the_other_retries(kind: type[errors.ClusterError]) -> None:
    assert isinstance(next_move(kind(SAID), MAX_ATTEMPTS - 1, False, 1.0), Retry)
    assert next_move(kind(SAID), MAX_ATTEMPTS, False, 1.0) == Fail(
        Reason.RETRIES_EXHAUSTED, f"The last of {MAX_ATTEMPTS} attempts failed: {SAID}"
    )


@pytest.mark.parametrize("kind", sorted(EVERY, key=str))
def test_after_the_last_write_of_an_ambiguous_action_reads_decide(kind: type[errors.ClusterError]) -> None:
    """Each of them comes late enough for the API server to have given up the write."""
    for attempts in range(MAX_ATTEMPTS, MAX_READS):
        move = next_move(kind(SAID), attempts, True, 0.5)
        assert isinstance(move, Retry)
        assert move.delay == READ_AFTER

    assert next_move(kind(SAID), MAX_READS, True, 0.5) == Review(f"The last of {MAX_READS} attempts failed: {SAID}")


def test_attempts_that_were_not_applied_are_counted() -> None:
    move = unapplied(SAID, MAX_ATTEMPTS + 1)

    assert move.reason is Reason.RETRIES_EXHAUSTED
    assert move.message.startswith(f"None of {MAX_ATTEMPTS} attempts was applied")
    assert move.message.endswith(SAID)


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
