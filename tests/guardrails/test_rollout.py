"""Rollouts of the target, in progress, stuck or just begun; and workloads without replicas."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from guardrails.checks.answers import RECHECK
from guardrails.checks.rollout import rollout
from guardrails.checks.signal import freshness
from guardrails.checks.target import scaled_to_zero
from guardrails.types import Facts, Limits, Outcome, RolloutFacts, RolloutState, TargetFacts
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, SignalFacts, Source
from tests.kit.decisions import NOW, RESTART, TARGET, ago, ahead, known, scale

S = RolloutState
DEFAULT = Limits()
LABELLED = Proposal(ActionType.PATCH, TARGET, Origin.CLOSED_LOOP, {"patch": {"metadata": {"labels": {"note": "x"}}}})
RESIZED = Proposal(
    ActionType.PATCH,
    TARGET,
    Origin.CLOSED_LOOP,
    {"patch": {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}},
)
THEIRS = RolloutFacts(S.IN_PROGRESS, "2 of 6 replicas are updated", 2, 5, 7, by="kubectl-set", since=ago(minutes=5))
OURS = replace(THEIRS, by="smartops", ours=True)


def facing(found: RolloutFacts, replicas: int = 6) -> Facts:
    return known(target=TargetFacts("uid-1", replicas, rollout=found))


def direct(proposal: Proposal) -> Proposal:
    return replace(proposal, origin=Origin.DIRECT)


@pytest.mark.parametrize("proposal", [scale(delta=1), scale(delta=-1), RESTART, LABELLED, RESIZED])
@pytest.mark.parametrize("found", [THEIRS, OURS, replace(THEIRS, first=True), RolloutFacts(S.IN_PROGRESS, "waiting")])
def test_the_closed_loop_waits_for_any_rollout_and_a_caller_is_warned(found: RolloutFacts, proposal: Proposal) -> None:
    verdict = rollout(proposal, facing(found), DEFAULT, NOW)
    assert (verdict.outcome, verdict.reason) == (Outcome.DEFER, Reason.ROLLOUT_IN_PROGRESS)
    assert verdict.until == NOW + RECHECK

    warned = rollout(direct(proposal), facing(found), DEFAULT, NOW)
    assert (warned.outcome, warned.reason) == (Outcome.WARN, Reason.ROLLOUT_IN_PROGRESS)
    assert warned.message == verdict.message


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (THEIRS, " by kubectl-set since 11:55:00 UTC"),
        (OURS, " by SmartOps since 11:55:00 UTC"),
        (replace(THEIRS, by="", since=None), ""),
    ],
)
def test_the_message_says_whose_rollout_since_when_and_the_counts(found: RolloutFacts, start: str) -> None:
    verdict = rollout(RESTART, facing(found), DEFAULT, NOW)

    assert verdict.message == (
        f"A rollout of smartops-dev/erp-simulator{start} is in progress: 2 of 6 replicas are updated. "
        "Of 7 pods, 2 are updated and 5 are ready."
    )
    assert verdict.details.items() >= {"rollout": "in_progress", "updated": 2, "ready": 5, "total": 7}.items()


def test_a_rollout_in_progress_by_somebody_else_is_decided_again_when_it_has_settled() -> None:
    found = replace(THEIRS, changed_by="kubectl-set", changed_at=ago(seconds=5))

    assert rollout(RESTART, facing(found), DEFAULT, NOW).until == ahead(seconds=115)


STUCK = replace(THEIRS, state=S.STUCK, message='ReplicaSet "erp-1" has timed out progressing.')


@pytest.mark.parametrize(
    ("found", "proposal", "reason"),
    [
        (STUCK, RESTART, Reason.ROLLOUT_STUCK),
        (STUCK, RESIZED, Reason.ROLLOUT_STUCK),
        (STUCK, scale(delta=1), None),  # it makes no revision
        (STUCK, LABELLED, None),
        (replace(STUCK, ours=True), RESTART, None),  # the template before it is the same
        (replace(STUCK, first=True), RESTART, None),  # there is nothing to go back to
    ],
)
def test_pods_are_not_replaced_while_a_rollout_of_somebody_else_is_stuck(
    found: RolloutFacts, proposal: Proposal, reason: Reason | None
) -> None:
    verdict = rollout(proposal, facing(found), DEFAULT, NOW)
    warned = rollout(direct(proposal), facing(found), DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (Outcome.DEFER if reason else Outcome.ALLOW, reason)
    assert (warned.outcome, warned.reason) == (Outcome.WARN if reason else Outcome.ALLOW, reason)
    assert ("kubectl rollout undo" in verdict.message) == bool(reason)


def changed(at: datetime) -> RolloutFacts:
    return RolloutFacts(by="helm", since=at, until=ago(seconds=1), changed_by="helm", changed_at=at)


@pytest.mark.parametrize(
    ("at", "limit", "until"),
    [
        (ago(seconds=119), 120, ahead(seconds=1)),
        (ago(seconds=120), 120, None),
        (ago(hours=1), 120, None),
        (ago(seconds=0), 120, ahead(seconds=120)),
        (ahead(seconds=30), 120, ahead(seconds=120)),  # the cluster's clock is ahead
        (ago(seconds=1), 0, None),
        (ago(seconds=500), 600, ahead(seconds=100)),
    ],
)
def test_a_change_of_the_template_by_somebody_else_has_time_to_settle(
    at: datetime, limit: int, until: datetime | None
) -> None:
    limits = replace(DEFAULT, rollout_settle_seconds=limit)
    verdict = rollout(scale(delta=1), facing(changed(at)), limits, NOW)

    assert (verdict.outcome, verdict.until) == (Outcome.DEFER if until else Outcome.ALLOW, until)
    assert verdict.reason == (Reason.TEMPLATE_CHANGED if until else None)
    assert ("helm changed the pod template" in verdict.message) == bool(until)
    warned = rollout(direct(scale(delta=1)), facing(changed(at)), limits, NOW)
    assert warned.outcome is (Outcome.WARN if until else Outcome.ALLOW)


def test_our_own_change_of_the_template_needs_no_time_to_settle() -> None:
    found = RolloutFacts(by="smartops", since=ago(seconds=9), until=ago(seconds=2), ours=True)

    assert rollout(RESTART, facing(found), DEFAULT, NOW).outcome is Outcome.ALLOW


SIGNAL = SignalFacts("0199-s", Source.ANOMALY, TARGET, "error", ago(seconds=1500), resolved=False, score=0.9)


@pytest.mark.parametrize(
    ("found", "waited"),
    [
        (RolloutFacts(), 0),
        (replace(THEIRS, since=ago(seconds=1200)), 1200),
        (replace(THEIRS, since=ago(seconds=2000)), 1500),  # it was reported during the rollout
        (replace(THEIRS, by="", since=None), 1500),
        (RolloutFacts(since=ago(seconds=1200), until=ago(seconds=500)), 700),
        (RolloutFacts(since=ago(seconds=9000), until=ago(seconds=8000)), 0),
        (RolloutFacts(since=ago(seconds=1200), until=ahead(seconds=5)), 1200),
        (RolloutFacts(since=ago(seconds=1200)), 0),  # nothing shows when it ended
        (RolloutFacts(until=ago(seconds=1200)), 0),
        (replace(STUCK, since=ago(seconds=1400), until=ago(seconds=400)), 1000),
    ],
)
def test_the_time_of_a_rollout_is_not_part_of_the_age_of_a_signal(found: RolloutFacts, waited: int) -> None:
    verdict = freshness(SIGNAL, facing(found), DEFAULT, NOW)

    age = 1500 - waited
    expected: dict[str, Any] = {"age_seconds": age, "limit_seconds": 900} | (
        {"rollout_seconds": waited} if waited else {}
    )
    assert verdict.details == expected
    assert verdict.outcome is (Outcome.DENY if age > 900 else Outcome.ALLOW)


PARKED = facing(RolloutFacts(), replicas=0)


@pytest.mark.parametrize("proposal", [scale(delta=1), scale(replicas=2), scale(delta=-1), RESTART, RESIZED, LABELLED])
def test_the_closed_loop_leaves_a_workload_without_replicas_alone(proposal: Proposal) -> None:
    verdict = scaled_to_zero(proposal, PARKED, DEFAULT, NOW)

    assert (verdict.outcome, verdict.reason) == (Outcome.DENY, Reason.TARGET_SCALED_TO_ZERO)
    assert "scaled to 0" in verdict.message
    assert scaled_to_zero(proposal, facing(RolloutFacts(), replicas=1), DEFAULT, NOW).outcome is Outcome.ALLOW


def test_missing_pods_are_no_decision_to_run_none() -> None:
    assert scaled_to_zero(RESTART, facing(replace(THEIRS, total=0), replicas=3), DEFAULT, NOW).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("proposal", "outcome"),
    [
        (RESTART, Outcome.WARN),
        (RESIZED, Outcome.WARN),
        (scale(replicas=2), Outcome.ALLOW),
        (LABELLED, Outcome.ALLOW),
    ],
)
def test_a_caller_may_change_a_parked_workload_and_is_warned_if_no_pod_has_the_change(
    proposal: Proposal, outcome: Outcome
) -> None:
    assert scaled_to_zero(direct(proposal), PARKED, DEFAULT, NOW).outcome is outcome
