"""Limits in words, and what is left of them."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.checks.windows import RATE_WINDOW, actions_per_hour
from guardrails.types import Deferral, Limits, RecentAction
from guardrails.words import Budget, budgets, in_words, inherited, lacking, lasting
from signals.types import ActionType
from tests.kit.decisions import NOW, RECENT, RESTART, ago, known, restarted, scaled


def restarts(*minutes_ago: float, limit: int = 6) -> Budget:
    found = budgets(Limits(max_actions_per_hour=limit), restarted(*minutes_ago), NOW)
    return next(one for one in found if "restart" in one.text)


def test_a_budget_says_what_is_left_and_when_there_is_more() -> None:
    budget = restarts(10, 20, 30, 19)
    assert str(budget) == "at most 6 restarts per hour; 2 left, the next at 12:30 UTC"
    assert (budget.used, budget.left, budget.next_at) == (4, 2, ago(minutes=30) + RATE_WINDOW)


@pytest.mark.parametrize(
    ("minutes_ago", "limit", "text"),
    [
        ((), 6, "at most 6 restarts per hour; 6 left"),
        ((), 1, "at most 1 restart per hour; 1 left"),
        ((50, 40, 20), 1, "at most 1 restart per hour; 0 left, the next at 12:40 UTC"),
        ((10,), 0, "at most 0 restarts per hour; 0 left"),
        ((60,), 6, "at most 6 restarts per hour; 6 left"),
    ],
)
def test_the_words_of_a_budget(minutes_ago: tuple[float, ...], limit: int, text: str) -> None:
    assert str(restarts(*minutes_ago, limit=limit)) == text


def test_replicas_have_budgets_of_their_own() -> None:
    removed = RecentAction(ActionType.PATCH, ago(minutes=5), scale_decrease=2)
    found = {one.limit: one for one in budgets(Limits(), (*scaled(10, 4), removed), NOW) if one.limit != "max_actions"}
    assert str(found["max_scale_increase"]) == (
        "at most 3 replicas added within 15 minutes; 1 left, the next at 12:05 UTC"
    )
    assert str(found["max_scale_decrease"]) == (
        "at most 3 replicas removed within 15 minutes; 1 left, the next at 12:10 UTC"
    )


@pytest.mark.parametrize(
    ("wanted", "limits"),
    [
        (RecentAction(ActionType.RESTART, NOW), {"max_actions_per_hour"}),
        (RecentAction(ActionType.SCALE, NOW, scale_increase=2), {"max_scale_increase"}),
        (RecentAction(ActionType.PATCH, NOW, scale_decrease=4), {"max_scale_decrease"}),
        (RecentAction(ActionType.PATCH, NOW, scale_decrease=3), set()),
    ],
)
def test_a_budget_is_lacking_if_too_little_is_left_for_the_action(wanted: RecentAction, limits: set[str]) -> None:
    recent = (*restarted(10, 20, 30), *scaled(10, 4))
    found = lacking(Limits(max_actions_per_hour=3), recent, wanted, NOW)
    assert {one.limit for one in found} == limits


@given(RECENT, st.integers(0, 7))
def test_a_budget_agrees_with_the_guardrail(recent: tuple[RecentAction, ...], limit: int) -> None:
    limits = Limits(max_actions_per_hour=limit)
    [budget] = [one for one in budgets(limits, recent, NOW) if "restart" in one.text]
    verdict = actions_per_hour(RESTART, known(recent=recent), limits, NOW)
    assert (budget.left == 0) is isinstance(verdict, Deferral)
    if isinstance(verdict, Deferral) and limit:
        assert budget.next_at == verdict.until


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (60, "1 minute"), (7200, "2 hours"), (86_400, "1 day")],
)
def test_how_long_something_lasts(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("max_replicas", 8, "at most 8 replicas"),
        ("min_replicas", 1, "the closed loop leaves at least 1 replica"),
        ("cooldown_seconds", 300, "5 minutes from an action to the next one of its type"),
        ("cooldown_seconds", 0, "no pause between actions"),
        ("max_actions_per_hour", 6, "at most 6 actions of each type per hour"),
        ("rollout_settle_seconds", 0, "no pause after a change of the pod template by somebody else"),
        ("signal_ttl_seconds", 900, "a signal expires 15 minutes after its last report"),
        ("verification_timeout_seconds", 300, "a rollout has 5 minutes to be complete"),
        ("stabilization_seconds", 0, "a rollout counts when it is complete"),
        ("stabilization_seconds", 2, "a complete rollout has to stay complete for 2 seconds"),
        ("respect_owners", False, "fields that an autoscaler, GitOps or an operator sets may be changed"),
        ("mode", "auto", "actions run automatically"),
        ("mode", "approve", "actions wait for an approval"),
        ("mode", "of another version", "the mode is of another version"),
        ("mode", "observe", "actions are recorded, and do not run"),
        ("max_unapproved_replicas", 0, "an action that adds or removes any replica takes an approval"),
        ("max_unapproved_replicas", 9_999, "an action that adds or removes more than 9999 replicas takes an approval"),
        ("max_unapproved_replicas", 10_000, "no number of replicas takes an approval"),
        ("max_unapproved_percent", 0, "an action that adds or removes any replica takes an approval"),
        ("max_unapproved_percent", 1_000_000, "no percentage of the replicas takes an approval"),
        ("max_unapproved_replicas", 1, "an action that adds or removes more than 1 replica takes an approval"),
        (
            "max_unapproved_percent",
            50,
            "an action that adds or removes more than 50% of the replicas takes an approval",
        ),
        ("protected_labels", "pci", "actions of workloads with the label pci take an approval"),
        ("protected_labels", "", "no label is protected"),
        ("approve_after_failure", True, "an action takes an approval after it has failed"),
        ("approve_after_failure", False, "an action may be repeated after it has failed"),
        ("approvals_required", 2, "2 persons must approve"),
        ("approval_timeout_seconds", 1800, "an action waits 30 minutes for an approval"),
        ("another", 3, "another: 3"),
    ],
)
def test_a_limit_in_words(name: str, value: Any, text: str) -> None:
    assert in_words(name, value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(8, "8"), (0, "0"), ("auto", "auto"), ("", "none"), (True, "yes"), (False, "no")]
)
def test_what_an_empty_limit_stands_for(value: Any, text: str) -> None:
    assert inherited(value, "namespace shop") == f"inherited: {text} (namespace shop)"


def test_what_has_left_the_window_is_not_counted() -> None:
    assert restarts(61).used == 0
    assert restarts(59.9).next_at == NOW + timedelta(minutes=0.1)
