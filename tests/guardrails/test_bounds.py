"""Each guardrail with a limit: right below it, at it, and right above it. No number that is shown contradicts the
answer."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from guardrails.checks.approval import large_change
from guardrails.checks.freeze import freeze
from guardrails.checks.refused import FIRST_HOLD, recently_refused
from guardrails.checks.replicas import max_replicas, min_replicas
from guardrails.checks.rollout import rollout
from guardrails.checks.signal import freshness
from guardrails.checks.windows import actions_per_hour, cooldown, scale_down_velocity, scale_velocity
from guardrails.types import (
    Facts,
    FreezeFacts,
    Limits,
    Outcome,
    RecentAction,
    RefusedFacts,
    RolloutFacts,
    TargetFacts,
    Verdict,
)
from guardrails.words import budgets
from signals.mapping import Waiting, propose
from signals.types import ActionType, Proposal, RuleSpec, SignalFacts, Source
from tests.kit.decisions import NOW, RESTART, TARGET, known, scale

Check = Callable[[Proposal, Facts, Limits, datetime], Verdict]
INSTANT = timedelta(microseconds=1)
ALLOW, ASK, DEFER, DENY = Outcome.ALLOW, Outcome.ASK, Outcome.DEFER, Outcome.DENY
SIGNAL = SignalFacts("0199-s", Source.ANOMALY, TARGET, "resource", NOW, False, score=0.9)


def of(replicas: int) -> Facts:
    return known(target=TargetFacts("uid-1", replicas, replicas))


def done(ago: timedelta, *, up: int = 0, down: int = 0, type_: ActionType = ActionType.SCALE) -> Facts:
    return replace(of(9), recent=(RecentAction(type_, NOW - ago, up, down),))


def changed(at: datetime) -> Facts:
    return known(target=TargetFacts("uid-1", 2, 2, rollout=RolloutFacts(changed_by="ana", changed_at=at)))


@pytest.mark.parametrize(
    ("by", "of_replicas", "limit", "said", "shown"),
    [
        (50, 100, 50, ALLOW, 50),
        (101, 200, 50, ASK, 50.5),
        (99, 200, 50, ALLOW, 49.5),
        (2001, 4000, 50, ASK, 50.1),  # 50.025 %
        (1999, 4000, 50, ALLOW, 49.9),  # 49.975 %
        (1, 3, 33, ASK, 33.4),
        (1, 3, 34, ALLOW, 33.3),
        (2, 3, 66, ASK, 66.7),
        (2, 3, 67, ALLOW, 66.6),
        (1, 1000, 0, ASK, 0.1),
        (1, 100_000, 0, ASK, 0.1),
        (0, 100, 0, ALLOW, 0),
        (3, 0, 300, ALLOW, 300),  # of one replica, at least
        (3, 0, 299, ASK, 300),
        (1, 1, 100, ALLOW, 100),
        (3, 2, 149, ASK, 150),
        (2**31 - 1, 2**31 - 2, 100, ASK, 100.1),
    ],
)
def test_the_share_of_the_replicas_is_compared_exactly(
    by: int, of_replicas: int, limit: int, said: Outcome, shown: float
) -> None:
    limits = Limits(max_unapproved_percent=limit, max_unapproved_replicas=2**31)
    verdict = large_change(scale(delta=by), of(of_replicas), limits, NOW)

    assert (verdict.outcome, verdict.details["percent"]) == (said, shown)
    assert (verdict.details["percent"] > limit) is (said is ASK)
    assert said is ALLOW or f"({shown}%)" in verdict.message


@pytest.mark.parametrize(
    ("check", "proposal", "at_the_limit", "beyond"),
    [
        (max_replicas, scale(delta=1), of(7), of(8)),
        (min_replicas, scale(delta=-1), of(2), of(1)),
        (large_change, scale(delta=2), of(5), None),
        (large_change, scale(delta=3), None, of(5)),
        (actions_per_hour, RESTART, done(timedelta(hours=1), type_=ActionType.RESTART), None),
        (actions_per_hour, RESTART, None, done(timedelta(hours=1) - INSTANT, type_=ActionType.RESTART)),
        (scale_velocity, scale(delta=1), done(timedelta(minutes=1), up=2), done(timedelta(minutes=1), up=3)),
        (scale_velocity, scale(delta=3), of(9), None),
        (scale_velocity, scale(delta=4), None, of(9)),
        (scale_velocity, scale(delta=3), done(timedelta(minutes=15), up=1), None),
        (scale_velocity, scale(delta=3), None, done(timedelta(minutes=15) - INSTANT, up=1)),
        (scale_down_velocity, scale(delta=-1), done(timedelta(minutes=1), down=2), done(timedelta(minutes=1), down=3)),
        (scale_down_velocity, scale(delta=-3), of(9), None),
        (scale_down_velocity, scale(delta=-4), None, of(9)),
        (cooldown, scale(delta=1), known(cooldown_until=NOW), known(cooldown_until=NOW + INSTANT)),
        (
            recently_refused, RESTART, known(refused=RefusedFacts(1, NOW - FIRST_HOLD, "")),
            known(refused=RefusedFacts(1, NOW - FIRST_HOLD + INSTANT, "")),
        ),
        (
            rollout, RESTART,
            changed(NOW - timedelta(minutes=2)), changed(NOW - timedelta(minutes=2) + INSTANT),
        ),
    ],
)  # fmt: skip
def test_what_reaches_a_limit_is_allowed_and_what_exceeds_it_is_not(
    check: Check, proposal: Proposal, at_the_limit: Facts | None, beyond: Facts | None
) -> None:
    limits = Limits(max_replicas=8, min_replicas=1, max_actions_per_hour=1, max_unapproved_replicas=2)

    assert at_the_limit is None or check(proposal, at_the_limit, limits, NOW).outcome is ALLOW
    assert beyond is None or check(proposal, beyond, limits, NOW).outcome in (ASK, DEFER, DENY)


def test_a_freeze_is_shown_with_a_second_in_which_it_is_over() -> None:
    facts = known(freezes=(FreezeFacts("everything", "incident", "user:ana", NOW + INSTANT),))

    assert "until 2026-03-01 12:00:01 UTC" in freeze(RESTART, facts, Limits(), NOW).message


@pytest.mark.parametrize(
    ("left", "shown", "seconds"),
    [(INSTANT, 0.1, "1"), (timedelta(seconds=0.44), 0.5, "1"), (timedelta(seconds=42), 42, "42")],
)
def test_what_is_left_of_a_cooldown_is_more_than_nothing(left: timedelta, shown: float, seconds: str) -> None:
    verdict = cooldown(RESTART, known(cooldown_until=NOW + left), Limits(), NOW)

    assert verdict.details["remaining_seconds"] == shown
    assert f"needs {seconds} s more" in verdict.message


@pytest.mark.parametrize(
    ("age", "kept", "said", "shown"),
    [
        (timedelta(seconds=900) - INSTANT, 0.0, ALLOW, 899.9),
        (timedelta(seconds=900), 0.0, ALLOW, 900),
        (timedelta(seconds=900) + INSTANT, 0.0, DENY, 900.1),
        (timedelta(seconds=900.04), 0.0, DENY, 900.1),
        (timedelta(seconds=1000), 100.0, ALLOW, 900),
        (timedelta(seconds=1000), 99.96, DENY, 900.1),
        (timedelta(seconds=1000), 100.04, ALLOW, 899.9),
    ],
)
def test_the_age_of_a_signal_is_compared_exactly(age: timedelta, kept: float, said: Outcome, shown: float) -> None:
    verdict = freshness(replace(SIGNAL, last_seen_at=NOW - age, kept_seconds=kept), known(), Limits(), NOW)

    assert (verdict.outcome, verdict.details["age_seconds"]) == (said, shown)
    assert said is ALLOW or re.match(
        r"The signal was last reported 901 s ago.*, which is more than 900 s", verdict.message
    )


@pytest.mark.parametrize(
    ("lasted", "waits", "shown", "seconds"),
    [(59.999, True, 59.9, "59"), (60.0, False, None, ""), (0.0, True, 0, "0"), (59.4, True, 59.4, "59")],
)
def test_how_long_a_problem_has_lasted_is_compared_exactly(
    lasted: float, waits: bool, shown: float | None, seconds: str
) -> None:
    rule = RuleSpec(1, 1, "slow", Source.ANOMALY, "resource", ActionType.RESTART, {}, for_seconds=60)
    found = propose(replace(SIGNAL, lasted_seconds=lasted), [rule])

    assert isinstance(found, Waiting) is waits
    if isinstance(found, Waiting):
        assert found.details == {"lasted_seconds": {"value": shown, "limit": 60}}
        assert f"it has lasted for {seconds} s." in found.message


def test_a_window_has_room_at_the_minute_that_is_shown() -> None:
    at = NOW - timedelta(minutes=30, seconds=59)
    found = budgets(Limits(max_actions_per_hour=1), (RecentAction(ActionType.RESTART, at),), NOW)

    assert "0 left, the next at 12:30 UTC" in next(str(one) for one in found if "restart" in one.text)
