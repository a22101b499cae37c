"""Which changes the kinds of workloads take, and what is said about the others."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from guardrails.checks.answers import RECHECK
from guardrails.checks.kind import kind
from guardrails.checks.target import scaled_to_zero
from guardrails.evaluate import decide
from guardrails.types import Deny, Facts, Inputs, Limits, Outcome
from signals.proposals import sets_replicas
from signals.reasons import Reason
from signals.types import ActionType, Kind, Origin, Proposal
from tests.kit.decisions import LIVE, NOW, RESTART, TARGET, known, proposals, scale

DEPLOYMENT, STATEFUL_SET, DAEMON_SET = Kind
TEMPLATE = {"spec": {"template": {"metadata": {"annotations": {"note": "x"}}}}}


def of(kind_: Kind, proposal: Proposal) -> Proposal:
    return replace(proposal, target=replace(TARGET, kind=kind_))


def patch(**spec: Any) -> Proposal:
    return Proposal(ActionType.PATCH, TARGET, Origin.DIRECT, {"patch": {"spec": spec}})


@pytest.mark.parametrize(
    ("proposal", "kinds"),
    [
        (RESTART, {DEPLOYMENT, STATEFUL_SET, DAEMON_SET}),
        (scale(delta=1), {DEPLOYMENT, STATEFUL_SET}),
        (scale(replicas=0), {DEPLOYMENT, STATEFUL_SET}),
        (patch(replicas=3), {DEPLOYMENT, STATEFUL_SET}),
        (patch(minReadySeconds=5, revisionHistoryLimit=3), {DEPLOYMENT, STATEFUL_SET, DAEMON_SET}),
        (patch(paused=True), {DEPLOYMENT}),
        (patch(progressDeadlineSeconds=60), {DEPLOYMENT}),
        (patch(strategy=None), {DEPLOYMENT}),
        (patch(updateStrategy=None), {STATEFUL_SET, DAEMON_SET}),
        (patch(updateStrategy={"rollingUpdate": {"maxUnavailable": 1}}), {STATEFUL_SET, DAEMON_SET}),
        (patch(updateStrategy={"rollingUpdate": {"partition": 1}}), {STATEFUL_SET}),
        (patch(updateStrategy={"rollingUpdate": {"maxSurge": 1}}), {DAEMON_SET}),
        (patch(strategy={"rollingUpdate": {"maxSurge": 1}}), {DEPLOYMENT}),
        (replace(RESTART, type=ActionType.PATCH, params={"patch": TEMPLATE}), {DEPLOYMENT, STATEFUL_SET, DAEMON_SET}),
    ],
)
@pytest.mark.parametrize("kind_", Kind)
def test_a_change_is_denied_where_the_kind_lacks_a_field_of_it(
    proposal: Proposal, kinds: set[Kind], kind_: Kind
) -> None:
    verdict = kind(of(kind_, proposal), Facts(target_seen=False), Limits(), NOW)

    assert verdict.outcome is (Outcome.ALLOW if kind_ in kinds else Outcome.DENY)
    assert verdict.details["kind"] == kind_


@pytest.mark.parametrize("origin", Origin)
def test_a_daemon_set_is_never_scaled_and_the_reason_says_why(origin: Origin) -> None:
    proposal = of(DAEMON_SET, replace(scale(replicas=3), origin=origin))

    decision = decide(Inputs(NOW, known(), Limits(), proposal=proposal))

    assert isinstance(decision, Deny)
    assert (decision.reason, decision.details) == (
        Reason.UNSUPPORTED_BY_KIND,
        {"kind": "DaemonSet", "field": "spec.replicas"},
    )
    assert decision.message == (
        "SCALE does not apply to DaemonSet smartops-dev/erp-simulator: a DaemonSet has no spec.replicas, it runs one "
        "pod on each node that it selects."
    )


@given(proposals())
def test_no_change_of_the_replicas_of_a_daemon_set_passes(proposal: Proposal) -> None:
    verdict = kind(of(DAEMON_SET, proposal), known(), Limits(), NOW)

    assert verdict.outcome is Outcome.DENY or not sets_replicas(proposal)


def test_a_daemon_set_without_pods_is_described_by_its_nodes() -> None:
    facts = known(target=replace(LIVE, replicas=0, available=0))
    closed_loop, direct = (of(DAEMON_SET, replace(RESTART, origin=origin)) for origin in Origin)

    refused, warned = (scaled_to_zero(one, facts, Limits(), NOW) for one in (closed_loop, direct))

    name = "DaemonSet smartops-dev/erp-simulator"
    assert refused.message == f"{name} selects no node. The closed loop does not change it until it selects one."
    assert warned.message == f"{name} selects no node: the change reaches no pod until it selects one."


def test_a_daemon_set_whose_nodes_are_not_counted_is_not_without_nodes() -> None:
    facts = known(target=replace(LIVE, replicas=0, available=0, uncounted=True))
    closed_loop, direct = (of(DAEMON_SET, replace(RESTART, origin=origin)) for origin in Origin)

    deferred, allowed = (scaled_to_zero(one, facts, Limits(), NOW) for one in (closed_loop, direct))

    assert (deferred.outcome, deferred.reason) == (Outcome.DEFER, Reason.ROLLOUT_IN_PROGRESS)
    assert (allowed.outcome, allowed.message) == (Outcome.ALLOW, deferred.message)
    assert deferred.message == (
        "The controller of DaemonSet smartops-dev/erp-simulator has not counted its nodes since its last change."
    )
    assert deferred.until == NOW + RECHECK
