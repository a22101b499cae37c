"""One namespace cannot be read: what belongs to it waits with the cause, and the others go on."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from guardrails.replay import replay
from orchestrator.decide.direct import admit_direct
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.models import Action, ActionState, DecisionRecord
from signals import actors
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from smartops.dev.sandbox.faults import CutWatch, Forbid, Hang
from tests.kit import manifests
from tests.kit.processes import until
from tests.kit.signals import anomaly, post
from tests.kit.world import World

LEFT, SHOP = Target("default", "left", "api"), Target("default", "shop", "api")
DEPLOYMENTS = Forbid(group="apps", resource="deployments", namespace="left")
AUTOSCALERS = Forbid(group="autoscaling", resource="horizontalpodautoscalers", namespace="left")
MAY_NOT_LIST = 'cannot list resource "deployments" in API group "apps" in the namespace "left"'


@pytest.fixture
def two(world: World, tmp_path: Path) -> World:
    """The namespaces `left` and `shop`, each with a Deployment `api`."""
    manifest = tmp_path / "two.json"
    objects = [
        one
        for target in (LEFT, SHOP)
        for one in (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": target.namespace}},
            manifests.deployment(target.name, 2, namespace=target.namespace),
        )
    ]
    manifest.write_text("\n---\n".join(map(json.dumps, objects)))
    world.sandbox.load(manifest)
    return world


def report(target: Target, type_: str = "error") -> None:
    post(anomaly(target.name, type_, target=target))


def scale(target: Target) -> Action:
    return admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("ana"))


def nobody_else_takes_it_up() -> None:
    """What is due has been due for longer than it is left to other reconcilers."""
    Signal.objects.filter(state=SignalState.PENDING).update(not_before=Now() - timedelta(seconds=11))
    Action.objects.filter(state=ActionState.PENDING).update(not_before=Now() - timedelta(seconds=11))


def waits(target: Target) -> str:
    """Why its signal waits, and the message."""
    signal = Signal.objects.get(namespace=target.namespace)
    assert signal.state == SignalState.PENDING
    return signal.reason and f"{signal.reason}: {signal.message}"


def succeeded(target: Target) -> bool:
    return Action.objects.filter(workload__namespace=target.namespace, state=ActionState.SUCCEEDED).exists()


def test_a_namespace_whose_rights_were_removed_waits_with_the_cause_until_they_are_back(two: World) -> None:
    two.sandbox.fault(DEPLOYMENTS)
    report(LEFT)
    report(SHOP)

    with two.reconciling("left", "shop") as reconciler:
        until(lambda: succeeded(SHOP))
        assert waits(LEFT) == "", "it is left to other reconcilers"

        nobody_else_takes_it_up()
        until(lambda: waits(LEFT) != "")
        assert waits(LEFT).startswith("NamespaceUnreadable: SmartOps cannot read the namespace “left”: deployments in ")
        assert waits(LEFT).endswith(MAY_NOT_LIST)
        assert reconciler.readiness.problems() == []
        [warning] = reconciler.readiness.warnings()
        assert warning.startswith("cache not synced: deployments in namespace left: ")
        assert warning.endswith(MAY_NOT_LIST)

        two.sandbox.clear_faults()
        until(lambda: succeeded(LEFT))
        assert reconciler.readiness.warnings() == []

    for decision in DecisionRecord.objects.all():
        assert replay(decision.inputs) == decision.verdicts


def test_a_direct_action_waits_with_the_cause_and_then_goes_on(two: World) -> None:
    two.sandbox.fault(DEPLOYMENTS)
    action = scale(LEFT)
    nobody_else_takes_it_up()

    with two.reconciling("left", "shop"):
        until(lambda: Action.objects.get().reason != "")
        waiting = Action.objects.get()
        assert (waiting.state, waiting.reason) == (ActionState.PENDING, Reason.NAMESPACE_UNREADABLE)
        assert waiting.message.endswith(MAY_NOT_LIST)

        two.sandbox.clear_faults()
        until(lambda: succeeded(LEFT))
    assert Action.objects.get().pk == action.pk


def test_rights_that_are_removed_from_a_running_reconciler_are_missed_and_found_again(two: World) -> None:
    with two.reconciling("left", "shop") as reconciler:
        until(lambda: reconciler.cache.readable == ["left", "shop"])
        two.sandbox.fault(DEPLOYMENTS)
        two.sandbox.fault(CutWatch(path="/namespaces/left/deployments"))
        until(lambda: reconciler.cache.readable == ["shop"])
        report(LEFT)
        report(SHOP)
        nobody_else_takes_it_up()
        until(lambda: succeeded(SHOP) and waits(LEFT) != "")

        two.sandbox.clear_faults()
        until(lambda: succeeded(LEFT))


def test_a_target_that_is_missing_in_a_deleted_namespace_waits_with_the_cause(two: World) -> None:
    """The watch is still open, but the Role was deleted with the namespace."""
    with two.reconciling("left", "shop") as reconciler:
        until(lambda: reconciler.cache.readable == ["left", "shop"])
        # Not `list` and `watch`: a watch that has not begun yet would be refused.
        two.sandbox.fault(replace(DEPLOYMENTS, verb="get"))
        report(Target("default", "left", "new"))
        until(lambda: waits(LEFT) != "")
    assert "Deployment left/new: deployments.apps" in waits(LEFT)
    assert 'cannot get resource "deployments"' in waits(LEFT)
    assert Signal.objects.get().errors == 0


def test_a_namespace_whose_list_does_not_end_holds_up_no_other(two: World) -> None:
    two.cluster = KubernetesCluster(two.sandbox.kubeconfig, timeout=0.2)
    two.sandbox.fault(Hang(method="GET", path="/namespaces/left/deployments", count=1_000))
    report(LEFT)
    report(SHOP)

    with two.reconciling("left", "shop") as reconciler:
        until(lambda: succeeded(SHOP))
        until(lambda: "first list" not in "".join(reconciler.readiness.warnings()))
        nobody_else_takes_it_up()
        until(lambda: waits(LEFT) != "")
        assert "Read timed out" in waits(LEFT)

        two.sandbox.clear_faults()
        until(lambda: succeeded(LEFT))


def test_a_namespace_whose_autoscalers_are_unknown_keeps_its_replicas_and_restarts(two: World) -> None:
    two.sandbox.fault(AUTOSCALERS)
    report(LEFT, "latency")  # scales
    report(SHOP, "latency")

    with two.reconciling("left", "shop") as reconciler:
        until(lambda: succeeded(SHOP) and waits(LEFT) != "")
        assert waits(LEFT).startswith("AutoscalersUnknown: ")
        assert "horizontalpodautoscalers in namespace left" in "".join(reconciler.readiness.warnings())

        report(LEFT, "error")  # restarts
        until(lambda: succeeded(LEFT))
    assert {one.type for one in Action.objects.filter(workload__namespace="left")} == {"RESTART"}


def test_a_verification_outlives_the_rights_of_its_namespace(two: World) -> None:
    """A reconciler that starts without them does not take the Deployment for deleted."""
    GuardrailSetting.objects.update(stabilization_seconds=3600)
    action = scale(LEFT)
    with two.reconciling("left", "shop"):
        until(lambda: Action.objects.get().state == ActionState.VERIFYING)
    two.sandbox.fault(DEPLOYMENTS)

    with two.reconciling("left", "shop") as reconciler:
        until(lambda: len(reconciler.verifications) == 1 and reconciler.cache.readable == ["shop"])
        report(SHOP)
        until(lambda: succeeded(SHOP) or Action.objects.filter(workload__namespace="shop", state="verifying").exists())
        assert Action.objects.get(pk=action.pk).state == ActionState.VERIFYING
    Action.objects.filter(pk=action.pk).update(deadline_at=Now())

    with two.reconciling("left", "shop"):
        until(lambda: Action.objects.get(pk=action.pk).state != ActionState.VERIFYING)
    ended = Action.objects.get(pk=action.pk)
    assert (ended.state, ended.reason) == (ActionState.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)
    assert ended.message.startswith("The deadline has passed, and Deployment left/api cannot be read: ")
    assert 'cannot get resource "deployments"' in ended.message


def test_a_namespace_that_no_reconciler_watches_is_refused_with_its_name(two: World) -> None:
    report(LEFT)
    report(SHOP)

    with two.reconciling("shop"):
        until(lambda: succeeded(SHOP))
        until(lambda: Signal.objects.get(namespace="left").state == SignalState.DENIED)
    refused = Signal.objects.get(namespace="left")
    assert (refused.reason, refused.message) == (
        Reason.NAMESPACE_NOT_MANAGED,
        "SmartOps does not manage the namespace “left”.",
    )


def test_the_rows_of_a_cluster_without_a_reconciler_hold_up_no_other(two: World) -> None:
    elsewhere = Target("typo", "shop", "api")
    report(elsewhere)
    scale(elsewhere)
    report(SHOP)
    old = Now() - timedelta(days=1)

    with two.reconciling("left", "shop"):
        until(lambda: succeeded(SHOP))
        assert Signal.objects.get(cluster="typo").state == SignalState.PENDING
        Signal.objects.filter(cluster="typo").update(last_seen_at=old)
        Action.objects.filter(cluster="typo").update(deadline_at=Now())
        until(lambda: Signal.objects.get(cluster="typo").state == SignalState.DENIED)
        until(lambda: Action.objects.get(cluster="typo").state == ActionState.CANCELLED)
    assert Signal.objects.get(cluster="typo").message == (
        "No reconciler of the cluster “typo” decided on it within a day."
    )
    assert Action.objects.get(cluster="typo").message == "No reconciler of the cluster “typo” took it up in time."
