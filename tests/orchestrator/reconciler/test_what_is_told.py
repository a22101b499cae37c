"""What is told on a workload: of each end, of each refusal, and of what not."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from guardrails.types import Allow, Decision, Defer, Deny, Facts, Ignore, Inputs, Limits, TargetFacts
from orchestrator.k8s.events import EventType, KubernetesEvent
from orchestrator.k8s.parse import parse_deployment
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, Workload
from orchestrator.publish.events import SUPPRESSED, after_admission, after_execution, after_verification
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, SignalFacts, Source, Target
from tests.orchestrator.k8s.stub import deployment

S = ActionState
KEY, ID = WorkloadKey("dev", "erp"), UUID("01990000-0000-7000-8000-000000000001")
LIVE = parse_deployment(deployment("erp", uid="uid-live"))
MEMORY = {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}
TARGET = Target("default", "dev", "erp")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNAL = SignalFacts("0199-s", Source.ANOMALY, TARGET, "resource", NOW, resolved=False, score=0.95)
PROPOSAL = Proposal(ActionType.SCALE, TARGET, Origin.CLOSED_LOOP, {"delta": 1})


def action(state: ActionState = S.VERIFYING, **fields: Any) -> Action:
    """Planned, unless `planned_uid` says otherwise."""
    given: dict[str, Any] = {
        "id": ID,
        "type": "SCALE",
        "requested_by": "ana",
        "planned_uid": "uid-1",
        "before": {"replicas": 2},
    }
    given |= {"change": {"replicas": 3}, "workload": Workload(cluster="default", namespace="dev", name="erp")}
    return Action(state=state, **given | fields)


@pytest.mark.parametrize(
    ("type_", "change", "reason", "words"),
    [
        ("SCALE", {"replicas": 3}, "Scaled", "Scaled from 2 to 3 replicas"),
        ("RESTART", {"value": str(ID)}, "Restarted", "Restarted all pods"),
        (
            "PATCH",
            {"patch": {"spec": {"replicas": 3, "template": {"spec": MEMORY}}, "metadata": {"labels": {"a": None}}}},
            "Patched",
            "Patched spec.replicas, spec.template.spec.containers[name=app].resources.limits.memory, metadata.labels.a",
        ),
    ],
)
@pytest.mark.parametrize("state", [S.VERIFYING, S.SUCCEEDED])
def test_a_change_is_told_with_who_wanted_it_and_why(
    state: ActionState, type_: str, change: dict[str, Any], reason: str, words: str
) -> None:
    message = f"{words} (action {ID}, requested by ana)"
    made = action(state, type=type_, change=change)
    assert after_execution(made, LIVE) == KubernetesEvent(KEY, "uid-1", EventType.NORMAL, reason, message, str(ID))

    made.justification = "anomaly resource (scale-up)"
    told = after_execution(made, LIVE)
    assert told is not None
    assert told.message == f"{message}: anomaly resource (scale-up)"


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (S.PENDING, "deferred"),
        (S.CANCELLED, "refused"),
        (S.FAILED, "failed"),
        (S.TIMED_OUT, "timed out"),
        (S.NEEDS_REVIEW, "needs a review"),
    ],
)
def test_a_trouble_is_told_with_its_reason_and_words(state: ActionState, verdict: str) -> None:
    troubled = action(state, reason=Reason.AUTOSCALED, message="HorizontalPodAutoscaler erp sets the replicas.")
    words = f"SCALE {verdict} (action {ID}, requested by ana): HorizontalPodAutoscaler erp sets the replicas."
    told = KubernetesEvent(KEY, "uid-1", EventType.WARNING, "Autoscaled", words, str(ID))

    assert after_execution(troubled, None) == told
    assert after_verification(troubled) == told


@pytest.mark.parametrize("state", [S.APPLYING, S.AWAITING_APPROVAL, S.REJECTED, S.EXPIRED])
def test_what_is_under_way_or_was_decided_elsewhere_is_not_told(state: ActionState) -> None:
    assert after_execution(action(state, reason=Reason.FROZEN), LIVE) is None


def test_a_success_that_was_verified_tells_the_deployment_itself() -> None:
    assert after_verification(action(S.SUCCEEDED, reason=Reason.ROLLOUT_COMPLETE)) is None


def test_what_was_held_back_before_it_was_planned_is_told_on_the_object_that_was_seen() -> None:
    refused = action(S.CANCELLED, planned_uid="", reason=Reason.REPLICA_LIMIT, message="9 replicas would exceed it.")
    told = after_execution(refused, LIVE)
    assert told is not None
    assert told.uid == "uid-live"
    assert after_execution(refused, None) is None


@pytest.mark.parametrize("state", [S.SUCCEEDED, S.CANCELLED, S.FAILED])
def test_of_a_dry_run_nothing_is_told(state: ActionState) -> None:
    assert after_execution(action(state, dry_run=True, reason=Reason.FROZEN), LIVE) is None


@pytest.mark.parametrize("reason", Reason)
def test_what_passes_by_itself_is_not_told_however_it_is_met(reason: Reason) -> None:
    told = [
        after_execution(action(S.PENDING, reason=reason), LIVE),
        after_execution(action(S.CANCELLED, reason=reason), LIVE),
        after_verification(action(S.FAILED, reason=reason)),
        admission(deferred(reason)),
    ]
    assert [note is None for note in told] == [reason in SUPPRESSED] * 4


def deferred(reason: Reason) -> Defer:
    return Defer(PROPOSAL, reason, "The last SCALE needs 9 s.", NOW, ())


def denied(reason: Reason) -> Deny:
    return Deny(reason, "The last SCALE needs 9 s.", (), proposal=PROPOSAL)


def admission(decision: Decision, **fields: Any) -> KubernetesEvent | None:
    given: dict[str, Any] = {
        "now": NOW,
        "facts": Facts(True, TargetFacts("uid-1", 2)),
        "limits": Limits(),
        "signal": SIGNAL,
    } | fields
    return after_admission(Inputs(**given), decision)


@pytest.mark.parametrize(("decide", "verdict"), [(denied, "refused"), (deferred, "deferred")])
def test_what_a_signal_led_to_in_vain_is_told(decide: Callable[[Reason], Decision], verdict: str) -> None:
    words = f"SCALE {verdict} (signal 0199-s): The last SCALE needs 9 s."
    assert admission(decide(Reason.COOLDOWN_ACTIVE)) == KubernetesEvent(
        KEY, "uid-1", EventType.WARNING, "CooldownActive", words, "0199-s"
    )


def test_as_long_as_a_signal_waits_for_the_same_reason_it_is_the_same_news() -> None:
    first, again, other = (
        admission(deferred(reason)) for reason in (Reason.AUTOSCALED, Reason.AUTOSCALED, Reason.FROZEN)
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.name == again.name != other.name


@pytest.mark.parametrize(
    ("decision", "fields"),
    [
        (Allow(PROPOSAL, ()), {}),  # the action tells
        (Ignore(Reason.NO_RULE, "No rule.", ()), {}),
        (denied(Reason.FROZEN), {"signal": None}),  # a caller was told
        (denied(Reason.FROZEN), {"facts": Facts(True, None)}),  # there is nothing to tell it on
    ],
)
def test_what_concerns_nobody_at_the_workload_is_not_told(decision: Decision, fields: dict[str, Any]) -> None:
    assert admission(decision, **fields) is None
