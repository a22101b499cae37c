from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.rollout import FREED_WITHIN, Complete, Failed, Progressing, obstacle_of, rollout
from orchestrator.k8s.types import ACTION_ANNOTATION, Condition, Update, WorkloadKey, WorkloadObject
from orchestrator.verification.judge import Expected, judge
from signals.reasons import Reason
from signals.types import Kind
from tests.orchestrator.verification.rollouts import EXCEEDED, NO_VERDICT, ROWS, Row

DEADLINE_EXCEEDED = Condition("Progressing", "False", "ProgressDeadlineExceeded")


def deployment(
    *,
    generation: int = 5,
    observed: int = 5,
    desired: int = 3,
    replicas: int = 3,
    updated: int = 3,
    available: int = 3,
    conditions: tuple[Condition, ...] = (),
) -> WorkloadObject:
    return WorkloadObject(
        key=WorkloadKey("smartops-dev", "erp-simulator"),
        uid="uid-1",
        resource_version="100",
        generation=generation,
        replicas=desired,
        paused=False,
        deleting=False,
        annotations={ACTION_ANNOTATION: "action-1"},
        observed_generation=observed,
        status_replicas=replicas,
        updated_replicas=updated,
        ready_replicas=available,
        available_replicas=available,
        conditions=conditions,
    )


RESTARTED = Expected(uid="uid-1", generation=5, action="action-1", replicas=None, baseline=3)
SCALED = replace(RESTARTED, replicas=3, baseline=2)

counts = st.integers(0, 6)
deployments = st.builds(
    deployment,
    generation=counts,
    observed=counts,
    desired=counts,
    replicas=counts,
    updated=counts,
    available=counts,
    conditions=st.sampled_from([(), (DEADLINE_EXCEEDED,)]),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_rollout_is_judged_by_its_numbers(row: Row) -> None:
    assert type(rollout(parsed(row))) is row.verdict


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_rollout_is_never_complete_for_us_before_it_is_for_kubectl(row: Row) -> None:
    assert row.verdict is not Complete or row.done or row.kubectl == NO_VERDICT
    assert (row.verdict is Failed) == (row.kubectl == EXCEEDED)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "all pods above the partition are updated",
            "1 of 3 replicas are updated above the partition 2; all are available",
        ),
        ("no pod above the partition is updated", "0 of 1 replicas are updated above the partition 2"),
        ("a StatefulSet with a pod that is not ready", "0 of 3 replicas are updated"),
        ("a StatefulSet that has not reached its smaller size", "1 surplus replicas are pending termination"),
        ("a StatefulSet with a pod that is ready and not available yet", "2 of 3 replicas are available"),
        ("the revisions differ", "The controller has not ended the rollout yet"),
        (
            "all pods of a StatefulSet that somebody has to delete are available",
            "All 3 replicas are available; the update strategy is OnDelete",
        ),
        (
            "a DaemonSet whose controller has not seen the change",
            "Waiting for the DaemonSet controller to observe the change",
        ),
        ("a pod of a DaemonSet is not available", "1 of 2 updated pods are available"),
        ("all pods of a DaemonSet are updated and available", "All 2 pods are updated and available"),
        ("a DaemonSet without a node", "No node is to run a pod, and none does"),
    ],
)
def test_the_words_are_those_of_the_kind(name: str, message: str) -> None:
    [row] = (row for row in ROWS if row.name == name)
    assert rollout(parsed(row)).message == message


def parsed(row: Row) -> WorkloadObject:
    manifest = row.manifest
    return parse_workload({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "100"}}, row.kind)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (deployment(generation=6), "Waiting for the Deployment controller to observe the change"),
        (deployment(updated=1), "1 of 3 replicas are updated"),
        (replace(deployment(updated=1), paused=True), "1 of 3 replicas are updated, and the Deployment is paused"),
        (deployment(replicas=4), "1 old replicas are pending termination"),
        (deployment(replicas=5, updated=5), "2 surplus replicas are pending termination"),
        (deployment(available=2), "2 of 3 updated replicas are available"),
    ],
)
def test_what_is_still_missing_is_said_with_numbers(target: WorkloadObject, message: str) -> None:
    assert rollout(target) == Progressing(message)


def test_a_failed_rollout_is_explained_in_the_controllers_words() -> None:
    condition = replace(DEADLINE_EXCEEDED, message='ReplicaSet "erp-7d4" has timed out progressing.')
    verdict = rollout(deployment(updated=1, conditions=(Condition("Available", "True"), condition)))
    assert verdict == Failed(Reason.PROGRESS_DEADLINE_EXCEEDED, condition.message)


QUOTA = 'pods "web-1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
DENIED = 'admission webhook "policy.example.com" denied the request: no'
DOWN = 'Internal error occurred: failed calling webhook "policy.example.com": connection refused'


def replica_failure(message: str, updated_at: str = "12:00:01Z") -> Condition:
    return Condition("ReplicaFailure", "True", "FailedCreate", message, updated_at)


@pytest.mark.parametrize(
    ("message", "patience"),
    [
        (QUOTA, FREED_WITHIN),
        ('pods "web-1" is forbidden: violates PodSecurity "restricted:latest": hostPort', 0.0),
        ('pods "web-1" is forbidden: unable to create new content in namespace q because it is being terminated', 0.0),
        ('pods "web-1" is forbidden: failed quota: q: must specify cpu for: app', 0.0),
        ('Pod "web-1" is invalid: spec.containers[0].resources.requests: Invalid value', 0.0),
        (DENIED, 0.0),
        (DOWN, None),
        ('pods "web-1" is forbidden: not yet ready to handle request', None),
        ('pods "web-1" is forbidden: status unknown for quota: q, resources: pods', None),
        ("etcdserver: request timed out", None),
        ("", None),
    ],
)
def test_waiting_ends_where_the_cluster_refuses_the_pods_for_good(message: str, patience: float | None) -> None:
    target = deployment(desired=4, replicas=3, updated=3, available=3, conditions=(replica_failure(message),))
    assert rollout(target) == Progressing(f"3 of 4 replicas are updated: {message or 'FailedCreate'}", patience)


def test_a_replica_set_that_cannot_be_created_is_reported_before_the_controller_has_observed_the_change() -> None:
    message = f'Failed to create new replica set "web-2": replicasets.apps "web-2" is forbidden: {QUOTA}'
    condition = Condition("Progressing", "False", "ReplicaSetCreateError", message)
    target = deployment(generation=6, conditions=(condition,))
    said = f"Waiting for the Deployment controller to observe the change: {message}"
    assert rollout(target) == Progressing(said, FREED_WITHIN)


@pytest.mark.parametrize(
    "condition",
    [
        Condition("Progressing", "True", "ReplicaSetUpdated"),
        Condition("Progressing", "Unknown", "DeploymentPaused"),
        Condition("ReplicaFailure", "False", "FailedCreate"),
        Condition("Available", "False", "MinimumReplicasUnavailable"),
        DEADLINE_EXCEEDED,
    ],
    ids=lambda one: f"{one.type} {one.status} {one.reason}",
)
def test_other_conditions_are_no_obstacle(condition: Condition) -> None:
    assert obstacle_of(deployment(conditions=(condition,))) is None


def test_a_deadline_is_reported_with_what_the_cluster_refuses() -> None:
    exceeded = replace(DEADLINE_EXCEEDED, message="It has timed out progressing.")
    verdict = rollout(deployment(updated=1, conditions=(exceeded, replica_failure(QUOTA))))
    assert verdict == Failed(Reason.PROGRESS_DEADLINE_EXCEEDED, f"It has timed out progressing. {QUOTA}")


def test_what_was_reported_before_the_change_proves_nothing_about_it() -> None:
    exceeded, refused = replace(DEADLINE_EXCEEDED, updated_at="12:00:00Z"), replica_failure(QUOTA)
    before = replace(RESTARTED, conditions=frozenset({exceeded.reported, refused.reported}))
    target = deployment(updated=1, conditions=(exceeded, refused))

    said = f"1 of 3 replicas are updated: {QUOTA} (reported before the change)"
    assert judge(target, before) == Progressing(said, None)
    assert isinstance(judge(deployment(conditions=(exceeded,)), before), Complete)


def test_a_deadline_that_is_exceeded_again_after_the_change_is_a_failure() -> None:
    before = replace(DEADLINE_EXCEEDED, updated_at="12:00:00Z")
    again = replace(DEADLINE_EXCEEDED, updated_at="12:10:00Z")
    expected = replace(RESTARTED, conditions=frozenset({before.reported}))
    assert isinstance(judge(deployment(updated=1, conditions=(again,)), expected), Failed)


PAUSED = replace(SCALED, paused=True)


@pytest.mark.parametrize(
    ("target", "expected", "verdict"),
    [
        (deployment(updated=1), PAUSED, Complete("All 3 replicas are available; the Deployment is paused")),
        (deployment(updated=1, available=2), PAUSED, Progressing("2 of 3 replicas are available")),
        (deployment(updated=1, replicas=5), PAUSED, Progressing("2 surplus replicas are pending termination")),
        (
            deployment(generation=6, updated=1),
            PAUSED,
            Progressing("Waiting for the Deployment controller to observe the change"),
        ),
        (deployment(updated=1), SCALED, Progressing("1 of 3 replicas are updated, and the Deployment is paused")),
    ],
    ids=["all are available", "one is missing", "two are too many", "not observed", "paused after the change"],
)
def test_a_pause_before_the_change_does_not_keep_it_from_its_end(
    target: WorkloadObject, expected: Expected, verdict: object
) -> None:
    assert judge(replace(target, paused=True), expected) == verdict


def test_a_paused_deployment_that_is_resumed_after_the_change_is_rolled_out() -> None:
    assert judge(deployment(updated=1), PAUSED) == Progressing("1 of 3 replicas are updated")


@given(deployments)
def test_complete_means_every_replica_is_new_and_available(target: WorkloadObject) -> None:
    if isinstance(rollout(target), Complete):
        assert target.observed_generation >= target.generation
        assert target.status_replicas <= target.updated_replicas == target.replicas <= target.available_replicas


@given(deployments)
def test_one_more_available_pod_never_takes_completion_back(target: WorkloadObject) -> None:
    if isinstance(rollout(target), Complete):
        assert isinstance(rollout(replace(target, available_replicas=target.available_replicas + 1)), Complete)


@given(deployments)
def test_an_unobserved_generation_is_never_done_and_never_failed(target: WorkloadObject) -> None:
    target = replace(target, observed_generation=target.generation - 1)
    assert isinstance(rollout(target), Progressing)


@pytest.mark.parametrize(
    ("target", "expected", "reason"),
    [
        (None, RESTARTED, Reason.TARGET_GONE),
        (replace(deployment(), deleting=True), RESTARTED, Reason.TARGET_GONE),
        (replace(deployment(), uid="uid-2"), RESTARTED, Reason.TARGET_REPLACED),
        (replace(deployment(), uid="uid-2", deleting=True), RESTARTED, Reason.TARGET_REPLACED),
        (replace(deployment(), uid="uid-2", generation=1), RESTARTED, Reason.TARGET_REPLACED),
        (replace(deployment(generation=6), annotations={}), RESTARTED, Reason.SUPERSEDED),
        (replace(deployment(), annotations={ACTION_ANNOTATION: "action-2"}), RESTARTED, Reason.SUPERSEDED),
        (deployment(generation=6, observed=6, desired=2, replicas=2, updated=2), SCALED, Reason.SUPERSEDED),
        (deployment(generation=6, observed=6, desired=4, replicas=4, updated=4), SCALED, Reason.SUPERSEDED),
        (deployment(desired=2, replicas=2, updated=2, available=2), SCALED, Reason.SUPERSEDED),
        (deployment(updated=1, conditions=(DEADLINE_EXCEEDED,)), SCALED, Reason.PROGRESS_DEADLINE_EXCEEDED),
    ],
)
def test_a_change_that_did_not_hold_has_failed(
    target: WorkloadObject | None, expected: Expected, reason: Reason
) -> None:
    verdict = judge(target, expected)
    assert isinstance(verdict, Failed)
    assert verdict.reason is reason


def test_a_deployment_older_than_the_write_is_awaited() -> None:
    assert judge(deployment(generation=4), RESTARTED) == Progressing("Waiting for the change to be seen")


def test_a_workload_that_somebody_scaled_to_zero_is_not_healed() -> None:
    target = deployment(generation=6, observed=6, desired=0, replicas=0, updated=0, available=0)
    assert isinstance(rollout(target), Complete)
    assert judge(target, RESTARTED) == Failed(Reason.SUPERSEDED, "Scaled from 3 to 0 replicas by somebody else")


def test_a_field_that_somebody_else_has_set_since_is_no_success() -> None:
    ours = ("metadata.annotations", "spec.minReadySeconds", "spec.paused")
    patched = replace(RESTARTED, fields=frozenset(ours[1:]))
    assert isinstance(judge(replace(deployment(), ours=ours), patched), Complete)
    message = "Somebody else has changed spec.paused since we wrote it"
    assert judge(replace(deployment(), ours=ours[:2]), patched) == Failed(Reason.SUPERSEDED, message)


def test_scaling_down_to_what_was_asked_for_is_complete() -> None:
    target = deployment(desired=0, replicas=0, updated=0, available=0)
    assert isinstance(judge(target, replace(SCALED, replicas=0)), Complete)


def test_an_autoscaler_that_adds_replicas_does_not_supersede_a_restart() -> None:
    target = deployment(generation=6, observed=6, desired=5, replicas=5, updated=5, available=5)
    assert isinstance(judge(target, RESTARTED), Complete)


def test_a_newer_generation_with_our_change_intact_is_verified_as_it_is() -> None:
    target = deployment(generation=7, observed=6)
    assert isinstance(judge(target, SCALED), Progressing)
    assert isinstance(judge(replace(target, observed_generation=7), SCALED), Complete)


@given(deployments, st.sampled_from([{}, {ACTION_ANNOTATION: "action-0"}]))
def test_a_view_older_than_our_write_judges_nothing(target: WorkloadObject, annotations: dict[str, str]) -> None:
    target = replace(target, annotations=annotations)
    assert isinstance(judge(target, replace(SCALED, generation=target.generation + 1)), Progressing)


@given(deployments, st.sampled_from([None, 0, 2, 3]), counts)
def test_complete_is_never_smaller_than_asked_for_or_than_before(
    target: WorkloadObject, replicas: int | None, baseline: int
) -> None:
    verdict = judge(target, replace(RESTARTED, replicas=replicas, baseline=baseline))
    if isinstance(verdict, Complete):
        assert target.available_replicas >= (baseline if replicas is None else replicas)


PARKED = deployment(desired=0, replicas=0, updated=0, available=0)


@pytest.mark.parametrize(
    ("target", "expected", "progress"),
    [
        (PARKED, replace(RESTARTED, baseline=0, needs_pods=True), Failed),  # a restart, or a patch of the pod template
        (PARKED, replace(RESTARTED, baseline=0), Complete),  # a patch of a label needs no pod
        (PARKED, replace(SCALED, replicas=0, baseline=2), Complete),  # scaled to 0, as it was requested
        (deployment(), replace(RESTARTED, baseline=0, needs_pods=True), Complete),  # somebody has scaled it up since
    ],
)
def test_a_change_of_the_pods_that_reached_no_pod_is_no_success(
    target: WorkloadObject, expected: Expected, progress: type
) -> None:
    judged = judge(target, expected)

    assert type(judged) is progress
    assert not isinstance(judged, Failed) or judged.reason is Reason.NO_PODS
    assert "All 0 replicas" not in judged.message


OF_SET = replace(RESTARTED, kind=Kind.STATEFUL_SET, needs_pods=True)
OF_DAEMONS = replace(RESTARTED, kind=Kind.DAEMON_SET, needs_pods=True)


def of(kind: Kind, **fields: Any) -> WorkloadObject:
    target = deployment()
    return replace(target, key=replace(target.key, kind=kind), **fields)


@pytest.mark.parametrize(
    ("target", "expected", "reason", "words"),
    [
        (None, OF_SET, Reason.TARGET_GONE, "The StatefulSet was deleted"),
        (
            of(Kind.DAEMON_SET, uid="another"),
            OF_DAEMONS,
            Reason.TARGET_REPLACED,
            "The DaemonSet was deleted and created anew",
        ),
        (
            of(Kind.STATEFUL_SET, replicas=0),
            replace(OF_SET, baseline=0),
            Reason.NO_PODS,
            "the StatefulSet is scaled to 0",
        ),
        (of(Kind.STATEFUL_SET, update=Update.ON_DELETE), OF_SET, Reason.NO_PODS, "its update strategy is OnDelete"),
        (of(Kind.STATEFUL_SET, partition=3), OF_SET, Reason.NO_PODS, "its partition 3 leaves all 3 replicas"),
        (of(Kind.DAEMON_SET, replicas=0), OF_DAEMONS, Reason.NO_PODS, "no node runs its pods"),
        (of(Kind.STATEFUL_SET, replicas=2), OF_SET, Reason.SUPERSEDED, "Scaled from 3 to 2 replicas"),
    ],
)
def test_a_change_of_a_set_that_did_not_hold_has_failed(
    target: WorkloadObject | None, expected: Expected, reason: Reason, words: str
) -> None:
    verdict = judge(target, expected)
    assert isinstance(verdict, Failed)
    assert (verdict.reason, words in verdict.message) == (reason, True)


def test_a_daemon_set_has_no_pods_only_after_the_controller_has_counted_its_nodes() -> None:
    new = of(Kind.DAEMON_SET, replicas=0)
    assert isinstance(judge(replace(new, observed_generation=new.generation - 1), OF_DAEMONS), Progressing)


def test_nodes_that_leave_supersede_no_change_of_a_daemon_set() -> None:
    left = of(
        Kind.DAEMON_SET, replicas=2, status_replicas=2, updated_replicas=2, ready_replicas=2, available_replicas=2
    )
    assert judge(left, OF_DAEMONS) == Complete("All 2 pods are updated and available")
