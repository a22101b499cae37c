"""What the cache shows becomes the outcome of each applied action."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from guardrails.types import Limits
from orchestrator.k8s.errors import Forbidden, Unreached
from orchestrator.k8s.types import ACTION_ANNOTATION, Condition, WorkloadKey, WorkloadObject
from orchestrator.models import (
    Action,
    ActionState,
    Verification,
    VerificationStatus,
    Workload,
    transition_store,
    transitions,
)
from orchestrator.models.transitions import DEADLINE_MARGIN
from orchestrator.reconciler import verify
from orchestrator.reconciler.calls import Confirmation
from orchestrator.reconciler.claim import claim_due
from orchestrator.reconciler.clock import SystemClock
from orchestrator.reconciler.verify import BEGIN_AGAIN, OVERDUE, READ_AGAIN, Ended, Verifications, Watched
from signals.reasons import Reason
from signals.types import Kind
from tests.kit.history import rewritable
from tests.kit.simulation import SimulatedClock, SimulatedCluster
from tests.kit.verbs import poison, requested, row, those_stored

S = ActionState
ERP = Workload(pk=1, cluster="default", namespace="dev", kind="Deployment", name="erp")
LIMITS = Limits(stabilization_seconds=5, verification_timeout_seconds=60)


def applied() -> Action:
    now = timezone.now()
    action = Action(workload=ERP, type="SCALE", planned_uid="u", change={"replicas": 3}, traceparent="")
    action.updated_at, action.deadline_at = now, now + timedelta(minutes=5)
    Verification(action=action, generation=2, baseline={"replicas": 2})
    return action


def test_a_change_of_the_target_wakes_the_younger_of_two_whichever_came_last() -> None:
    verifications = Verifications("default", SystemClock())
    ended, under_way = applied(), applied()
    for one in (under_way, ended):
        verifications.watch(one)  # another process has ended it since this one read it
    assert len(list(verifications.due([]))) == 2  # each is checked once

    assert [one.action.pk for one in verifications.due([WorkloadKey("dev", "erp")])] == [under_way.pk]


class Scene:
    """Verifications under a simulated clock, of actions in the database."""

    def __init__(self) -> None:
        self.clock, self.cluster = SimulatedClock(), SimulatedCluster()
        self.verifications = Verifications("default", self.clock)

    def apply(self, name: str = "erp-simulator", **fields: object) -> Action:
        """Scaled from 2 to 3, and not rolled out. `fields` of the Deployment before the write."""
        action = requested(name)
        [claim] = [one for one in claim_due("default", 9, "reconciler:test") if one.action.pk == action.pk]
        live = self.cluster.change(self.cluster.deploy(name), **fields)
        transition_store.store([transitions.plan(claim.action, live, {"replicas": 3}, 1, "reconciler:test")])
        marked = {ACTION_ANNOTATION: str(action.pk)}
        written = self.cluster.change(live.key, generation=live.generation + 1, replicas=3, annotations=marked)
        transition_store.store([transitions.apply(claim.action, written, LIMITS, "reconciler:test")])
        return claim.action

    def watch(self, name: str = "erp-simulator", **fields: object) -> Watched:
        action = self.apply(name, **fields)
        self.verifications.watch(action)
        return {one.action.pk: one for one in self.verifications.due([])}[action.pk]

    def seen(self, watched: Watched) -> WorkloadObject:
        return self.cluster.deployments[watched.key]

    def examine(self, watched: Watched) -> bool:
        return self.verifications.examine(watched, self.cluster.deployments.get(watched.key))

    def confirm(self, watched: Watched, result: WorkloadObject | Exception | None, pods: str = "") -> None:
        self.verifications.confirm(Confirmation(watched.key, watched.action.pk, result, pods))

    def due(self, *changed: WorkloadKey) -> list[str]:
        return [one.key.name for one in self.verifications.due(changed)]

    @property
    def ended(self) -> list[tuple[str, str]]:
        return [(one.status, one.reason) for one in self.verifications.ended]


@pytest.fixture
def scene(rules: None) -> Scene:
    return Scene()


def test_a_verification_is_due_at_once_at_a_change_and_at_its_deadline(scene: Scene) -> None:
    scene.verifications.watch(scene.apply())
    assert scene.verifications.next_alarm() == 0
    assert scene.due() == ["erp-simulator"]
    assert (scene.due(), scene.verifications.next_alarm()) == ([], 60)

    assert scene.due(WorkloadKey("smartops-dev", "another")) == []
    assert scene.due(WorkloadKey("smartops-dev", "erp-simulator")) == ["erp-simulator"]
    scene.clock.advance(60)
    assert scene.due() == ["erp-simulator"]
    assert scene.verifications.next_alarm() == float("inf")


def test_a_pass_that_ends_early_leaves_the_others_due(scene: Scene) -> None:
    scene.watch("a")
    scene.watch("b")
    changed = [WorkloadKey("smartops-dev", name) for name in "ab"]

    first = next(iter(scene.verifications.due(changed))).key.name

    assert [first, *scene.due()] in (["a", "b"], ["b", "a"])


def test_a_complete_rollout_succeeds_when_its_stabilization_is_over(scene: Scene) -> None:
    watched = scene.watch()
    scene.cluster.roll_out(watched.key)

    assert not scene.examine(watched)
    assert (scene.ended, scene.verifications.next_alarm()) == ([], 5)
    scene.clock.advance(5)
    assert scene.due() == ["erp-simulator"]
    assert not scene.examine(watched)
    assert scene.ended == [(VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE)]
    assert scene.due(watched.key) == []
    assert len(scene.verifications) == 1, "its outcome is yet to be recorded"


def test_a_failure_in_the_cache_is_asked_about_once(scene: Scene) -> None:
    watched = scene.watch()
    del scene.cluster.deployments[watched.key]

    assert scene.examine(watched)
    assert not scene.examine(watched), "the API server is being asked"

    scene.confirm(watched, None)
    assert scene.ended == [(VerificationStatus.FAILED, Reason.TARGET_GONE)]


def test_a_live_read_that_contradicts_the_cache_lets_the_verification_go_on(scene: Scene) -> None:
    watched = scene.watch()
    live = scene.seen(watched)
    assert scene.verifications.examine(watched, None)

    scene.confirm(watched, live)

    assert (scene.ended, scene.verifications.next_alarm()) == ([], READ_AGAIN)
    assert scene.verifications.examine(watched, None), "it may be asked about again"


def test_an_api_server_that_gives_no_answer_is_asked_again_until_the_deadline(scene: Scene) -> None:
    watched = scene.watch()
    assert scene.verifications.examine(watched, None)

    scene.confirm(watched, Unreached("no route"))
    assert (scene.ended, scene.verifications.next_alarm()) == ([], READ_AGAIN)

    scene.clock.advance(60)
    assert scene.verifications.examine(watched, None)
    scene.confirm(watched, Unreached("no route"))
    assert scene.ended == [(VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)]
    assert scene.verifications.ended[0].seen is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"replicas": 5}, (VerificationStatus.FAILED, Reason.SUPERSEDED)),
        (
            {
                "observed_generation": 2,
                "conditions": (Condition("Progressing", "False", Reason.PROGRESS_DEADLINE_EXCEEDED, "stuck"),),
            },
            (VerificationStatus.FAILED, Reason.PROGRESS_DEADLINE_EXCEEDED),
        ),
        ({"uid": "another"}, (VerificationStatus.FAILED, Reason.TARGET_REPLACED)),
    ],
    ids=["scaled by somebody", "the progress deadline", "replaced"],
)
def test_a_failure_that_a_live_read_confirms_ends_the_verification(
    scene: Scene, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    watched = scene.watch()
    seen = scene.cluster.change(watched.key, **changes)

    assert scene.examine(watched)
    scene.confirm(watched, seen)

    assert scene.ended == [expected]


QUOTA = 'pods "erp-1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5'
DENIED = 'pods "erp-1" is forbidden: violates PodSecurity "restricted:latest": hostPort'
FAILED = (VerificationStatus.FAILED, Reason.REPLICA_FAILURE)


class TestPodsThatTheClusterRefuses:
    def refuse(self, scene: Scene, watched: Watched, message: str, **counts: int) -> WorkloadObject:
        condition = Condition("ReplicaFailure", "True", "FailedCreate", message, "12:00:01Z")
        return scene.cluster.change(watched.key, observed_generation=2, conditions=(condition,), **counts)

    def test_a_refusal_for_good_fails_the_verification_at_once(self, scene: Scene) -> None:
        watched = scene.watch()
        seen = self.refuse(scene, watched, DENIED)

        assert scene.examine(watched)
        scene.confirm(watched, seen)

        assert scene.ended == [FAILED]
        assert scene.verifications.ended[0].message == f"2 of 3 replicas are updated: {DENIED}"

    def test_a_quota_fails_it_when_no_pod_can_be_about_to_make_room(self, scene: Scene) -> None:
        watched = scene.watch()
        self.refuse(scene, watched, QUOTA)
        assert not scene.examine(watched)

        scene.clock.advance(30)
        seen = self.refuse(scene, watched, QUOTA, available_replicas=1)
        assert not scene.examine(watched), "the counts have changed"
        scene.clock.advance(29)
        assert not scene.examine(watched)

        watched.deadline += 60
        scene.clock.advance(31)
        assert "erp-simulator" in scene.due()
        assert scene.examine(watched)
        scene.confirm(watched, seen)
        assert scene.ended == [FAILED]

    def test_a_refusal_that_passes_is_forgotten(self, scene: Scene) -> None:
        watched = scene.watch()
        self.refuse(scene, watched, QUOTA)
        assert not scene.examine(watched)
        scene.cluster.change(watched.key, conditions=())
        assert not scene.examine(watched)
        assert watched.refused is None

    def test_a_webhook_that_is_down_is_waited_for_until_the_deadline(self, scene: Scene) -> None:
        message = 'Internal error occurred: failed calling webhook "a.b": connection refused'
        watched = scene.watch()
        seen = self.refuse(scene, watched, message)
        assert not scene.examine(watched)

        scene.clock.advance(60)
        assert scene.examine(watched)
        scene.confirm(watched, seen)

        assert scene.ended == [(VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)]
        assert scene.verifications.ended[0].message.endswith(message)

    def test_what_was_refused_before_the_write_fails_nothing(self, scene: Scene) -> None:
        key = scene.cluster.deploy("erp-simulator")
        old = Condition("Progressing", "False", Reason.PROGRESS_DEADLINE_EXCEEDED, "stuck", "12:00:00Z")
        watched = scene.watch(conditions=(old,))
        scene.cluster.change(key, observed_generation=2)

        assert not scene.examine(watched)

    def test_a_pod_that_does_not_run_is_named_when_the_time_is_over(self, scene: Scene) -> None:
        watched = scene.watch()
        scene.clock.advance(60)
        assert scene.examine(watched)

        scene.confirm(watched, scene.seen(watched), pods="Pod erp-1: Unschedulable: 0/3 nodes are available")

        assert scene.verifications.ended[0].message.endswith(". Pod erp-1: Unschedulable: 0/3 nodes are available")


def test_a_late_confirmation_of_a_verification_that_has_ended_changes_nothing(scene: Scene) -> None:
    watched = scene.watch()
    assert scene.verifications.examine(watched, None)
    scene.confirm(watched, None)

    scene.confirm(watched, scene.seen(watched))

    assert len(scene.ended) == 1


def test_actions_that_another_process_applied_are_loaded_with_the_time_they_have_left(scene: Scene) -> None:
    ours, theirs, elsewhere = scene.apply("a"), scene.apply("b"), scene.apply("c")
    with rewritable(Action):
        Action.objects.filter(pk=elsewhere.pk).update(cluster="other")
    scene.verifications.watch(ours)
    Action.objects.filter(pk=theirs.pk).update(deadline_at=theirs.deadline_at - timedelta(seconds=30))

    scene.verifications.load()
    scene.verifications.load()

    assert sorted(scene.due()) == ["a", "b"]
    assert 25 < scene.verifications.next_alarm() <= 30


def test_an_outcome_that_is_yet_to_be_recorded_is_not_watched_again(scene: Scene) -> None:
    watched = scene.watch()
    assert scene.verifications.examine(watched, None)
    scene.confirm(watched, None)

    scene.verifications.load()

    assert scene.due() == []
    assert len(scene.verifications) == 1


def test_an_action_that_cannot_be_verified_here_costs_itself(scene: Scene) -> None:
    """It may be of a newer version of SmartOps, which runs beside this one for a while."""
    strange, _ = scene.apply("a"), scene.apply("b")
    with rewritable(Action):
        Action.objects.filter(pk=strange.pk).update(type="EVICT")

    scene.verifications.load()

    assert scene.due() == ["b"]


def test_an_action_that_cannot_be_verified_here_is_logged_once_and_ends_at_its_deadline(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    strange = scene.apply()
    with rewritable(Action):
        Action.objects.filter(pk=strange.pk).update(type="EVICT")

    for _ in range(3):
        scene.verifications.load()
        scene.clock.advance(BEGIN_AGAIN)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"action {strange.pk} cannot be verified; it ends at its deadline"
    ]
    assert scene.ended == []

    Action.objects.update(deadline_at=timezone.now() - timedelta(seconds=OVERDUE + 1))
    scene.verifications.load()
    scene.verifications.load()
    [ended] = verify.record(scene.verifications.ended, "reconciler:test")
    verify.count(ended)

    found = row(strange)
    assert (found.state, found.reason) == (S.TIMED_OUT, Reason.PROCESSING_ERROR)
    assert found.message == "The verification could not be carried out: ValueError: 'EVICT' is not a valid ActionType"


def test_a_verification_says_nothing_of_a_target_whose_namespace_has_not_synced(scene: Scene) -> None:
    watched = scene.watch()

    assert not scene.verifications.examine(watched, None, known=False)
    scene.clock.advance(60)
    assert scene.verifications.examine(watched, None, known=False), "its time is up: the API server is asked"

    scene.confirm(watched, Forbidden("deployments.apps is forbidden", code=403))
    [ended] = scene.verifications.ended
    assert (ended.status, ended.reason) == (VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)
    assert ended.message == (
        "The deadline has passed, and Deployment smartops-dev/erp-simulator cannot be read: "
        "deployments.apps is forbidden"
    )


@pytest.mark.parametrize(("namespace", "due"), [("smartops-dev", ["a", "b"]), ("*", ["a", "b"]), ("another", [])])
def test_a_namespace_that_was_listed_makes_its_verifications_due(scene: Scene, namespace: str, due: list[str]) -> None:
    scene.watch("a")
    scene.watch("b")

    assert sorted(scene.due(WorkloadKey(namespace, ""))) == due


def test_of_two_processes_one_records_the_outcome(scene: Scene) -> None:
    watched = scene.watch()
    other = Verifications("default", scene.clock)
    other.load()
    [theirs] = list(other.due([]))
    first, second = (
        Ended(one, VerificationStatus.FAILED, Reason.TARGET_GONE, "gone", None) for one in (watched, theirs)
    )

    assert verify.record([first], "reconciler:first") == [first]
    assert verify.record([second], "reconciler:second") == []
    assert row(watched.action).moved_by == "reconciler:first"


def test_each_outcome_of_a_batch_is_recorded_with_its_evidence(scene: Scene) -> None:
    done, gone = scene.watch("a"), scene.watch("b")
    scene.cluster.roll_out(done.key)
    ended = [
        Ended(done, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, "All 3.", scene.seen(done)),
        Ended(gone, VerificationStatus.FAILED, Reason.TARGET_GONE, "gone", None),
    ]

    assert verify.record(ended, "reconciler:test") == ended

    assert [row(one.action).state for one in (done, gone)] == [S.SUCCEEDED, S.FAILED]
    first, second = (Verification.objects.get(action=one.action.pk) for one in (done, gone))
    assert (first.status, first.available_replicas, first.message) == ("SUCCESS", 3, "All 3.")
    assert (second.status, second.available_replicas, second.message) == ("FAILED", None, "gone")
    assert first.finished_at is not None


def test_an_outcome_that_cannot_be_recorded_costs_itself_and_is_loaded_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = scene.watch("a"), scene.watch("b")
    for one in (bad, good):
        assert scene.verifications.examine(one, None)
        scene.confirm(one, None)
    with monkeypatch.context() as patch:
        poison(patch, transitions, "verified", lambda action, *_: action is bad.action)
        stored = those_stored(
            scene.verifications.ended,
            lambda some: verify.record(some, "reconciler:test"),
            scene.verifications.log_failure,
        )

    assert [one.watched for one in stored] == [good]
    assert row(bad.action).state == S.VERIFYING
    scene.verifications.load()
    assert scene.due() == [], "not at once: it would fail again"
    scene.clock.advance(BEGIN_AGAIN)
    scene.verifications.load()
    assert scene.due() == ["a"]


def test_a_version_of_the_cache_before_the_write_says_nothing(scene: Scene) -> None:
    watched = scene.watch()
    before = replace(scene.seen(watched), generation=1, replicas=2, annotations={})

    assert not scene.verifications.examine(watched, before)
    assert scene.ended == []


def moving(
    watched: Watched, seen: WorkloadObject, ago: float, reason: str = "ReplicaSetUpdated", **counts: Any
) -> WorkloadObject:
    """A rollout that made progress so many seconds ago, with a progress deadline of 100 s."""
    moved = timezone.now() - timedelta(seconds=ago)
    condition = Condition("Progressing", "True", reason, "", moved.isoformat())
    found = replace(seen, observed_generation=seen.generation, conditions=(condition,), progress_deadline=100)
    return replace(found, **counts)


def test_a_rollout_that_makes_progress_is_not_timed_out(scene: Scene) -> None:
    watched = scene.watch()
    seen = scene.seen(watched)
    scene.clock.advance(60)  # the deadline
    assert scene.due() == ["erp-simulator"]

    assert not scene.verifications.examine(watched, moving(watched, seen, ago=-50))  # 10 s before, by this clock
    assert scene.ended == []
    assert scene.verifications.next_alarm() == pytest.approx(50 + 100 + DEADLINE_MARGIN - 60, abs=1)

    scene.clock.advance(101)
    assert scene.due() == ["erp-simulator"]
    assert scene.verifications.examine(watched, moving(watched, seen, ago=-50)), "it has stopped since"
    scene.confirm(watched, moving(watched, seen, ago=-150, status_replicas=3))
    assert scene.ended == [], "the live read shows more progress"

    scene.clock.advance(200)
    assert scene.verifications.examine(watched, moving(watched, seen, ago=-150))
    scene.confirm(watched, moving(watched, seen, ago=-150))
    assert scene.ended == [(VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)]


def test_a_pod_that_becomes_ready_again_and_again_does_not_keep_a_verification(scene: Scene) -> None:
    """To the Deployment controller, it is progress whenever a pod that has crashed is ready again."""
    watched = scene.watch()
    seen = scene.seen(watched)

    for at in range(0, 130, 10):
        assert scene.ended == [], f"after {at} s"
        live = moving(watched, seen, -at, status_replicas=4, updated_replicas=1, ready_replicas=3 + at // 10 % 2)
        if scene.verifications.examine(watched, live):
            scene.confirm(watched, live)
        scene.clock.advance(10)

    assert scene.ended == [(VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT)]


def test_a_rollout_of_many_slow_pods_is_verified_to_its_end(scene: Scene) -> None:
    """Each pod takes most of the progress deadline, and old ones become unavailable in between."""
    watched = scene.watch()
    seen = scene.seen(watched)
    steps = [(new, new + old, new + old - waiting) for new in (1, 2) for old, waiting in ((4 - new, 1), (3 - new, 0))]

    for number, (updated, total, ready) in enumerate(steps):
        counts: dict[str, Any] = {"updated_replicas": updated, "status_replicas": total, "ready_replicas": ready}
        live = moving(watched, seen, -90 * number, **counts)
        assert not scene.verifications.examine(watched, live), f"{updated} of 3 are updated"
        scene.clock.advance(90)


def test_a_change_of_scale_has_no_deadline_of_its_own(scene: Scene) -> None:
    watched = scene.watch()
    scene.clock.advance(60)

    assert scene.verifications.examine(watched, moving(watched, scene.seen(watched), -50, "NewReplicaSetAvailable"))


def test_a_rollout_of_a_stateful_set_may_last_for_as_long_as_it_makes_progress(scene: Scene) -> None:
    """Its controller has no deadline: the timeout of the verification begins again with each progress."""
    watched = scene.watch()

    def is_doubtful(updated: int) -> bool:
        live = scene.seen(watched)
        key = replace(live.key, kind=Kind.STATEFUL_SET)
        seen = replace(live, key=key, observed_generation=live.generation, updated_replicas=updated)
        return scene.verifications.examine(watched, seen)

    assert not is_doubtful(updated=1)
    scene.clock.advance(59)
    assert not is_doubtful(updated=2)
    scene.clock.advance(59)
    assert not is_doubtful(updated=2)
    scene.clock.advance(1)
    assert is_doubtful(updated=2)


def test_a_target_that_cannot_be_judged_costs_its_own_verification_which_ends_at_its_deadline(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = scene.watch("a"), scene.watch("b")
    scene.cluster.roll_out(good.key)
    poison(monkeypatch, verify, "judge", lambda seen, _: seen.key == bad.key)

    assert not scene.examine(bad)
    assert not scene.examine(good)
    assert scene.due() == []
    for judge in (scene.examine, lambda one: scene.confirm(one, scene.seen(one))):
        scene.clock.advance(READ_AGAIN)
        assert "a" in scene.due()
        assert not judge(bad)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"action {bad.action.pk} cannot be verified; it ends at its deadline"
    ]

    scene.clock.advance(60 + OVERDUE)
    assert not scene.examine(bad)
    [ended] = scene.verifications.ended
    assert (ended.watched, ended.status, ended.reason) == (bad, VerificationStatus.TIMED_OUT, Reason.PROCESSING_ERROR)
    assert ended.message == "The verification could not be carried out: ValueError: poison"


def test_an_applied_action_that_cannot_be_watched_costs_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = scene.apply("a"), scene.apply("b")
    poison(monkeypatch, Verifications, "_begin", lambda _, action, *__: action is bad)

    scene.verifications.watch(bad)
    scene.verifications.watch(good)

    assert scene.due() == ["b"]
