"""Whose rollout is in progress, since when, and what is none: from the status and the managedFields of a Deployment."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.parse import NO_DEADLINE, parse_workload
from orchestrator.k8s.revision import CLOCK_SKEW, held, latest_rollout, progress_deadline, rollout_state
from orchestrator.k8s.target import TargetState
from orchestrator.k8s.types import Condition, TemplateChange, Update, WorkloadKey, WorkloadObject
from signals.proposals.restart import FIELD
from signals.types import Kind
from tests.kit.deployments import live

S = RolloutState
T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def progressing(reason: str = "ReplicaSetUpdated", status: str = "True", updated: float | None = 100) -> Condition:
    return Condition("Progressing", status, reason, "", "" if updated is None else at(updated).isoformat())


DONE = progressing("NewReplicaSetAvailable", updated=100)
AVAILABLE = Condition("Available", "True", "MinimumReplicasAvailable")


def web(*changes: tuple[str, float], **fields: Any) -> WorkloadObject:
    """Created at T0, and complete with 3 replicas since 100 s, unless `fields` say otherwise. `changes` of the pod
    template: who and when."""
    return WorkloadObject(
        **{
            "key": WorkloadKey("shop", "web"),
            "uid": "u",
            "resource_version": "7",
            "generation": 2,
            "observed_generation": 2,
            "replicas": 3,
            "status_replicas": 3,
            "updated_replicas": 3,
            "ready_replicas": 3,
            "available_replicas": 3,
            "paused": False,
            "deleting": False,
            "annotations": {},
            "conditions": (AVAILABLE, DONE),
            "progress_deadline": 600,
            "created_at": T0,
            "template_changes": tuple(TemplateChange(who, at(when)) for who, when in changes or [("kubectl", 0)]),
            **fields,
        }
    )


HALF: dict[str, Any] = {"updated_replicas": 1, "status_replicas": 4, "conditions": (AVAILABLE, progressing())}


@pytest.mark.parametrize(
    ("deployment", "state"),
    [
        (web(), S.COMPLETE),
        (web(**HALF), S.IN_PROGRESS),
        (web(**HALF, paused=True), S.COMPLETE),
        (web(generation=3), S.IN_PROGRESS),  # the controller has not observed the change
        (web(available_replicas=2), S.COMPLETE),  # a pod failed after the rollout
        (web(replicas=5), S.COMPLETE),  # a change of scale
        (web(replicas=5, status_replicas=5, updated_replicas=5), S.COMPLETE),
        (web(replicas=0), S.COMPLETE),
        (web(updated_replicas=0), S.IN_PROGRESS),  # the next rollout has begun, and the condition is the old one
        (web(available_replicas=0, conditions=(progressing("NewReplicaSetCreated"),)), S.IN_PROGRESS),  # the first one
        (web(conditions=(progressing(),)), S.COMPLETE),  # complete, and the condition follows
        (web(**HALF | {"conditions": (progressing("DeploymentResumed", "Unknown"),)}), S.IN_PROGRESS),
        (web(**HALF | {"conditions": (progressing("ProgressDeadlineExceeded", "False"),)}), S.STUCK),
        (web(**HALF | {"conditions": (progressing("ReplicaSetCreateError", "False"),)}), S.STUCK),
        (web(**HALF | {"conditions": ()}), S.IN_PROGRESS),  # without a progress deadline there is no condition
        (web(available_replicas=2, conditions=()), S.COMPLETE),
    ],
)
def test_only_a_rollout_of_the_template_is_a_rollout(deployment: WorkloadObject, state: RolloutState) -> None:
    assert rollout_state(deployment) is state
    assert latest_rollout(deployment).state is state


@pytest.mark.parametrize(
    ("changes", "by", "since", "ours", "first", "changed"),
    [
        ([("kubectl", 0)], "kubectl", 0, False, True, None),
        ([("kubectl", 1)], "kubectl", 1, False, True, None),  # the same request, in the next second
        ([("kubectl", 0), ("kubectl-set", 50)], "kubectl-set", 50, False, False, ("kubectl-set", 50)),
        ([("kubectl", 0), ("smartops", 50)], "smartops", 50, True, False, None),
        ([("helm", 40), ("smartops", 50)], "smartops", 50, True, False, ("helm", 40)),
        ([("smartops", 40), ("helm", 50)], "helm", 50, False, False, ("helm", 50)),
        ([("smartops", 50), ("helm", 50)], "helm", 50, False, False, ("helm", 50)),  # in doubt somebody else's
        ([("a", 20), ("b", 60), ("c", 30)], "b", 60, False, False, ("b", 60)),
        (
            [("kube-controller-manager", 90), ("before-first-apply", 90), ("helm", 5)],
            "helm",
            5,
            False,
            False,
            ("helm", 5),
        ),
    ],
)
def test_the_latest_change_of_the_template_is_whose_rollout_it_is(
    changes: list[tuple[str, float]], by: str, since: float, ours: bool, first: bool, changed: tuple[str, float] | None
) -> None:
    found = latest_rollout(web(*changes, **HALF))

    assert (found.by, found.since, found.ours, found.first) == (by, at(since), ours, first)
    who, when = changed or ("", None)
    assert (found.changed_by, found.changed_at) == (who, None if when is None else at(when))
    assert (found.updated, found.ready, found.total, found.until) == (1, 3, 4, None)
    assert found.message == "1 of 3 replicas are updated"


@pytest.mark.parametrize(
    ("changes", "revision", "first", "changed"),
    [
        ([("kubectl", 0)], 1, True, None),
        ([("kubectl", 1)], 1, True, None),
        ([("kubectl", 1)], 2, False, "kubectl"),  # changed within the second of its creation
        ([("kubectl", 0), ("smartops", 1)], 2, True, None),  # by ourselves: there is no other template
        ([("kubectl", 2)], 1, True, None),  # its first template: what it changed later are other fields
        ([("kubectl", 2)], 2, False, "kubectl"),
        ([("kubectl", 2)], 0, False, "kubectl"),  # no revision is known
    ],
)
def test_a_second_revision_tells_a_quick_change_from_the_creation(
    changes: list[tuple[str, float]], revision: int, first: bool, changed: str | None
) -> None:
    found = latest_rollout(web(*changes, **HALF, revision=revision))

    assert (found.first, found.changed_by) == (first, changed or "")


def test_the_revision_of_a_deployment_counts_once_its_controller_has_seen_the_change() -> None:
    seen = web(("kubectl", 2), **HALF, revision=1)
    unseen = replace(seen, generation=seen.observed_generation + 1)

    assert latest_rollout(unseen).changed_by == "kubectl"
    assert latest_rollout(replace(unseen, key=replace(unseen.key, kind=Kind.DAEMON_SET))).changed_by == ""


def test_a_second_revision_that_we_made_before_our_last_change_of_scale_is_ours() -> None:
    """The time of our entry is that of the change of scale, and says nothing about the template."""
    found = latest_rollout(web(("kubectl", 0), **HALF, revision=2, ours=("spec.replicas", FIELD)))

    assert (found.first, found.changed_at) == (True, None)


def test_without_managed_fields_it_is_nobodys() -> None:
    found = latest_rollout(web(**HALF, template_changes=()))

    assert (found.state, found.by, found.since, found.first) == (S.IN_PROGRESS, "", None, False)


def test_a_change_that_no_rollout_followed_was_none_of_the_template() -> None:
    """The manager has changed an annotation or the replicas: its entry has one time for all of its fields."""
    late = 100 + CLOCK_SKEW.total_seconds() + 1
    found = latest_rollout(web(("kubectl", 0), ("operator", late)))
    assert (found.by, found.changed_at) == ("kubectl", None)

    quick = latest_rollout(web(("kubectl", 0), ("operator", late - 1)))  # the clocks differ, or the rollout was quick
    assert quick.changed_at == at(late - 1)
    under_way = latest_rollout(web(("kubectl", 0), ("operator", late), updated_replicas=0))
    assert under_way.changed_at == at(late)
    assert latest_rollout(web(("operator", late), conditions=())).changed_at == at(late)


def test_of_a_paused_deployment_nothing_is_said() -> None:
    assert latest_rollout(web(("helm", 50), paused=True)) == RolloutFacts()


@pytest.mark.parametrize(
    ("condition", "until"),
    [
        (DONE, 100),
        (progressing("ProgressDeadlineExceeded", "False", 70), 70),
        (progressing("NewReplicaSetAvailable", updated=None), None),
        (progressing(), None),
    ],
)
def test_a_rollout_ended_when_its_condition_came_to_say_so(condition: Condition, until: float | None) -> None:
    assert latest_rollout(web(conditions=(condition,))).until == (None if until is None else at(until))


@pytest.mark.parametrize(
    ("deployment", "seconds"),
    [
        (web(**HALF), 700),
        (web(**HALF, progress_deadline=0), None),
        (web(**HALF | {"conditions": (progressing(updated=None),)}), None),
        (web(**HALF | {"conditions": ()}), None),
        (web(), None),
        (web(updated_replicas=0), None),  # the condition is that of the rollout before
        (web(**HALF | {"conditions": (progressing("ProgressDeadlineExceeded", "False"),)}), None),
    ],
)
def test_the_deadline_counts_from_the_last_progress(deployment: WorkloadObject, seconds: float | None) -> None:
    assert progress_deadline(deployment) == (None if seconds is None else at(seconds))


def test_rollout_facts_are_parsed() -> None:
    raw = {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {"deployment.kubernetes.io/revision": "3"},
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "managedFields": [
                {"manager": "helm", "operation": "Update", "time": "2026-03-01T12:00:50Z",
                 "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}}}},
                {"manager": "hpa", "operation": "Update", "time": "2026-03-01T12:00:55Z", "subresource": "scale",
                 "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "old", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}},
                {"manager": "kubectl-label", "operation": "Update", "time": "2026-03-01T12:00:56Z",
                 "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}},
            ],
        },
        "spec": {"progressDeadlineSeconds": 90},
        "status": {"conditions": [
            {"type": "Available", "status": "True", "lastUpdateTime": "2026-03-01T12:00:01Z"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
             "lastUpdateTime": "2026-03-01T12:01:40Z"},
        ]},
    }  # fmt: skip
    found = parse_workload(raw)

    assert (found.created_at, found.progress_deadline, found.revision) == (T0, 90, 3)
    assert found.template_changes == (TemplateChange("helm", at(50)),)
    assert progress_deadline(found) == at(190)
    assert parse_workload(raw | {"spec": {"progressDeadlineSeconds": NO_DEADLINE}}).progress_deadline == 0


RESTARTED: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, "f:smartops.io/restart": {}}}}
RESIZED: dict[str, Any] = {
    "f:spec": {"f:containers": {'k:{"name":"main"}': {"f:resources": {"f:limits": {"f:memory": {}}}}}}
}


@pytest.mark.parametrize(
    ("template", "action", "ours"),
    [
        (RESTARTED, "restart", True),
        (RESTARTED, "scale", False),
        (RESTARTED | RESIZED, "scale or patch", True),
        (RESIZED, "scale or patch", True),
    ],
)
def test_a_change_of_scale_does_not_make_a_rollout_ours(template: dict[str, Any], action: str, ours: bool) -> None:
    """The entry of SmartOps has one time for the restart of last week and for the replicas of today."""
    raw = {
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "uid": "u",
            "resourceVersion": "7",
            "generation": 3,
            "annotations": {"smartops.io/action": action},
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "managedFields": [
                {"manager": "helm", "operation": "Update", "time": "2026-03-01T12:00:50Z",
                 "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
                {"manager": "smartops", "operation": "Update", "time": "2026-03-01T12:15:00Z",
                 "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": template}}},
            ],
        },
        "spec": {"template": {"metadata": {"annotations": {"smartops.io/restart": "restart"}}}},
        "status": {"observedGeneration": 3, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
             "lastUpdateTime": "2026-03-01T12:26:00Z"},
        ]},
    }  # fmt: skip
    found = latest_rollout(parse_workload(raw))

    assert (found.state, found.ours, found.by) == (S.STUCK, ours, "smartops" if ours else "helm")


def test_a_creation_time_that_is_unknown_makes_every_change_one_of_an_existing_workload() -> None:
    assert latest_rollout(replace(web(("kubectl", 0)), created_at=None)).changed_at == T0


SET = replace(
    live(), key=WorkloadKey("smartops-dev", "db", Kind.STATEFUL_SET), observed_generation=3, replicas=3,
    status_replicas=3, updated_replicas=3, ready_replicas=3, available_replicas=3,
)  # fmt: skip
DAEMONS = replace(SET, key=WorkloadKey("smartops-dev", "agent", Kind.DAEMON_SET))


@pytest.mark.parametrize(
    ("workload", "state"),
    [
        (SET, RolloutState.COMPLETE),
        (replace(SET, generation=4), RolloutState.IN_PROGRESS),
        (replace(SET, is_current=False, updated_replicas=1), RolloutState.IN_PROGRESS),
        (replace(SET, is_current=False, available_replicas=2), RolloutState.IN_PROGRESS),
        (replace(SET, available_replicas=2, ready_replicas=2), RolloutState.COMPLETE),  # a pod has failed since
        (replace(SET, replicas=5), RolloutState.COMPLETE),  # a change of scale
        (replace(SET, partition=1, is_current=False, updated_replicas=1), RolloutState.IN_PROGRESS),
        (replace(SET, partition=1, is_current=False, updated_replicas=2), RolloutState.COMPLETE),
        (
            replace(SET, partition=1, is_current=False, updated_replicas=2, available_replicas=2),
            RolloutState.COMPLETE,  # all that may be replaced were
        ),
        (replace(SET, update=Update.ON_DELETE, is_current=False, updated_replicas=0), RolloutState.COMPLETE),
        (DAEMONS, RolloutState.COMPLETE),
        (replace(DAEMONS, updated_replicas=1), RolloutState.IN_PROGRESS),
        (replace(DAEMONS, available_replicas=1), RolloutState.COMPLETE),
        (replace(DAEMONS, replicas=4), RolloutState.COMPLETE),  # a node has joined
        (replace(DAEMONS, generation=4), RolloutState.IN_PROGRESS),
    ],
)
def test_the_status_of_a_set_shows_its_rollout(workload: WorkloadObject, state: RolloutState) -> None:
    assert rollout_state(workload) is state
    assert progress_deadline(workload) is None


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (SET, ""),
        (replace(SET, partition=2), ""),
        (replace(SET, partition=3), "its partition 3 leaves all 3 replicas at the old template"),
        (replace(SET, update=Update.ON_DELETE), "its update strategy is OnDelete"),
        (replace(DAEMONS, update=Update.ON_DELETE), "its update strategy is OnDelete"),
        (DAEMONS, ""),
    ],
)
def test_a_template_that_reaches_no_pod_is_held(workload: WorkloadObject, why: str) -> None:
    assert held(workload) == why
    assert workload.update is Update.ROLLING or latest_rollout(workload) == RolloutFacts()


@pytest.mark.parametrize(
    ("kind", "generation", "status", "replicas", "is_uncounted"),
    [
        (Kind.DAEMON_SET, 1, {}, 0, True),  # new: its controller has not seen it
        (Kind.DAEMON_SET, 1, {"observedGeneration": 1, "desiredNumberScheduled": 0}, 0, False),  # it selects no node
        (Kind.DAEMON_SET, 1, {"observedGeneration": 1, "desiredNumberScheduled": 3}, 3, False),
        (Kind.DAEMON_SET, 2, {"observedGeneration": 1, "desiredNumberScheduled": 0}, 0, True),  # another nodeSelector
        (Kind.DAEMON_SET, 2, {"observedGeneration": 1, "desiredNumberScheduled": 3}, 3, True),
        (Kind.DEPLOYMENT, 1, {}, 1, False),  # its spec says how many, and one if it does not
        (Kind.STATEFUL_SET, 1, {}, 1, False),
        (Kind.STATEFUL_SET, 2, {"observedGeneration": 1, "replicas": 5}, 1, False),
    ],
)
@pytest.mark.parametrize("strategy", [{}, {"updateStrategy": {"type": "OnDelete"}}], ids=["rolling", "OnDelete"])
def test_a_daemon_set_is_counted_when_its_controller_has_seen_the_last_change(
    kind: Kind, generation: int, status: dict[str, Any], replicas: int, is_uncounted: bool, strategy: dict[str, Any]
) -> None:
    metadata = {"name": "agent", "namespace": "dev", "uid": "u", "resourceVersion": "1", "generation": generation}
    workload = parse_workload({"metadata": metadata, "spec": strategy, "status": status}, kind)

    facts = TargetState(seen=True, object=workload).facts()

    assert facts is not None
    assert (facts.replicas, facts.uncounted) == (replicas, is_uncounted)
