"""Whatever the cluster answers, and whatever others do to the target meanwhile: never more than one effect, and what is
said of it is true."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from django.db.models.functions import Now

from guardrails.models import GuardrailSetting
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.connection import Connection
from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey, WorkloadObject
from orchestrator.models import Action, ActionState, DecisionRecord, transitions
from orchestrator.reconciler.clock import SystemClock
from orchestrator.reconciler.retry import MAX_ATTEMPTS
from signals.reasons import Reason
from smartops.dev.sandbox.cluster import write_kubeconfig
from smartops.dev.sandbox.faults import Hang, LoseAnswer, Refuse, RequestReason
from tests.kit.referee import Referee
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.verbs import requested
from tests.kit.world import World, deployment, only_action

S = ActionState
ALWAYS = 1_000_000
Step = Callable[[], object]


class DisturbedCluster(KubernetesCluster):
    """Others act right before or right after our write, each time the next of them."""

    before_write: list[Step]
    after_write: list[Step]

    def scale_workload(self, key: WorkloadKey, replicas: int, **options: Any) -> WorkloadObject:
        if self.before_write:
            self.before_write.pop(0)()
        try:
            return super().scale_workload(key, replicas, **options)
        finally:
            if self.after_write:
                self.after_write.pop(0)()


class Hurry(SystemClock):
    """Attempts follow each other at once. In the end they take their pauses: what is tried for ever comes to rest."""

    def __init__(self) -> None:
        self._hurried = 0

    def jitter(self) -> float:
        self._hurried += 1
        return 0.0 if self._hurried <= 40 else super().jitter()


class Scene:
    """The world, somebody else in it, and the one action."""

    def __init__(self, world: World) -> None:
        self.world, self.sandbox = world, world.sandbox
        self.referee = Referee(world.sandbox)
        self.cluster = DisturbedCluster(world.sandbox.kubeconfig, timeout=0.5)
        self.cluster.before_write, self.cluster.after_write = [], []
        world.cluster = self.cluster
        world.deploy(deployment("erp-simulator", replicas=2, ready_after="0"))

    def act(self) -> Action:
        """A signal asks for one more replica. What is put off is due at once, until the action rests."""
        post(anomaly("erp-simulator"))
        clock = Hurry()
        for _ in range(4):
            self.world.drain(clock=clock)
            if not Action.objects.filter(state=S.PENDING).update(not_before=Now()):
                break
        return only_action()

    def replicas(self) -> int:
        return self.world.replicas("erp-simulator")

    def scale(self, replicas: int) -> None:
        self._patch({"spec": {"replicas": replicas}})

    def label(self) -> None:
        self._patch({"metadata": {"labels": {"seen-by": "somebody"}}})

    def strip_annotations(self) -> None:
        self._patch({"metadata": {"annotations": None}})

    def touch_status(self) -> None:
        self._patch({"status": {"conditions": []}}, "/status")

    def delete(self) -> None:
        self._somebody("DELETE", "/erp-simulator")

    def recreate(self) -> None:
        self.delete()
        self._somebody("POST", "", json=deployment("erp-simulator", replicas=2, ready_after="0"))

    def _patch(self, patch: dict[str, Any], subresource: str = "") -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        self._somebody("PATCH", f"/erp-simulator{subresource}?fieldManager=somebody", json=patch, headers=headers)

    def _somebody(self, method: str, path: str, **content: Any) -> None:
        url = f"{self.sandbox.url}/apis/apps/v1/namespaces/{NAMESPACE}/deployments{path}"
        answer = urllib3.request(method, url, retries=False, **content)
        assert answer.status < 300, answer.data


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    one = Scene(world)
    yield one
    assert len(one.referee.effects) <= 1


def outcome(action: Action) -> tuple[str, str]:
    return action.state, action.reason


WEBHOOK = 'Internal error occurred: failed calling webhook "check.example.com": connection refused'
DONE = (S.SUCCEEDED, Reason.ROLLOUT_COMPLETE)


@pytest.mark.parametrize(
    ("fault", "end", "effects"),
    [
        (Refuse(method="PATCH", status=409), DONE, 1),
        (Refuse(method="PATCH", status=409, count=7), DONE, 1),
        (Refuse(method="PATCH", status=429, retry_after=7), DONE, 1),
        (Refuse(method="PATCH", status=429, count=ALWAYS), (S.FAILED, Reason.RETRIES_EXHAUSTED), 0),
        (Refuse(method="PATCH", status=403), (S.FAILED, Reason.CLUSTER_FORBIDDEN), 0),
        (Refuse(method="PATCH", status=422), (S.FAILED, Reason.CLUSTER_REJECTED), 0),
        (Refuse(method="PATCH", status=404), (S.FAILED, Reason.TARGET_GONE), 0),
        (Refuse(method="PATCH", status=500), DONE, 1),
        (Refuse(method="PATCH", status=503, count=3), DONE, 1),
        (Refuse(method="PATCH", status=500, count=ALWAYS), (S.FAILED, Reason.RETRIES_EXHAUSTED), 0),
        (Refuse(method="PATCH", status=500, message=WEBHOOK), DONE, 1),
        (Refuse(method="PATCH", status=500, message=WEBHOOK, count=12), DONE, 1),
        (Hang(method="PATCH", count=ALWAYS), (S.FAILED, Reason.RETRIES_EXHAUSTED), 0),
        (LoseAnswer(method="PATCH"), DONE, 1),
        (LoseAnswer(method="PATCH", hang=True), DONE, 1),
        (Hang(method="PATCH"), DONE, 1),
    ],
    ids=lambda value: f"{type(value).__name__} {vars_of(value)}" if isinstance(value, RequestReason) else "",
)
def test_a_fault_of_the_cluster_never_doubles_the_effect(
    scene: Scene, fault: RequestReason, end: tuple[str, str], effects: int
) -> None:
    scene.sandbox.fault(fault)

    action = scene.act()

    assert outcome(action) == end
    assert len(scene.referee.of(action.pk)) == effects
    assert scene.replicas() == 2 + effects
    assert (action.applied_at is not None) == (effects == 1)


@pytest.mark.parametrize(
    ("status", "count", "end", "effects"),
    [(500, 2, DONE, 1), (429, 2, DONE, 1), (403, 1, (S.FAILED, Reason.CLUSTER_FORBIDDEN), 0)],
)
def test_a_read_that_fails_is_repeated_or_ends_the_action(
    scene: Scene, status: int, count: int, end: tuple[str, str], effects: int
) -> None:
    look = Refuse(method="GET", path="/deployments/erp-simulator$", status=status, count=count)
    scene.sandbox.fault(Refuse(method="PATCH", status=409))  # who was refused a write looks
    scene.cluster.before_write = [lambda: scene.sandbox.fault(look)]

    assert outcome(scene.act()) == end
    assert len(scene.referee.effects) == effects


def vars_of(fault: RequestReason) -> str:
    shown = {name: getattr(fault, name, None) for name in ("method", "status", "count", "hang")}
    return " ".join(str(value) for value in shown.values() if value)


def test_a_write_names_the_object_the_version_and_the_action(scene: Scene) -> None:
    key = WorkloadKey(NAMESPACE, "erp-simulator")
    before = scene.cluster.get_workload(key)

    action = scene.act()

    [write] = scene.world.writes()
    assert json.loads(write.body)["metadata"] == {
        "uid": before.uid,
        "resourceVersion": action.planned_resource_version,
        "annotations": {ACTION_ANNOTATION: str(action.pk)},
    }


def test_the_servers_retry_after_is_kept(scene: Scene) -> None:
    scene.sandbox.fault(Refuse(method="PATCH", status=429, retry_after=7))
    post(anomaly("erp-simulator"))

    scene.world.drain()

    action = only_action()
    assert outcome(action) == (S.PENDING, Reason.CLUSTER_THROTTLED)
    assert round((action.not_before - action.updated_at).total_seconds()) == 7


def test_a_late_copy_of_a_write_that_was_sent_again_loses(scene: Scene) -> None:
    scene.sandbox.fault(Hang(method="PATCH"))

    action = scene.act()
    late = next(request for request in scene.sandbox.requests if request.method == "PATCH")

    assert scene.world.deliver(late) == 409
    assert outcome(action) == DONE
    assert scene.referee.answers == [200, 409]
    assert scene.replicas() == 3


def test_a_target_deleted_before_the_write_is_gone(scene: Scene) -> None:
    scene.cluster.before_write = [scene.delete]

    assert outcome(scene.act()) == (S.FAILED, Reason.TARGET_GONE)


def test_a_target_recreated_before_the_write_is_not_touched(scene: Scene) -> None:
    scene.cluster.before_write = [scene.recreate]

    assert outcome(scene.act()) == (S.CANCELLED, Reason.TARGET_REPLACED)
    assert scene.referee.effects == []
    assert scene.replicas() == 2


def test_a_target_recreated_after_an_unanswered_write_is_not_touched(scene: Scene) -> None:
    scene.sandbox.fault(LoseAnswer(method="PATCH"))
    scene.cluster.after_write = [scene.recreate]

    assert outcome(scene.act()) == (S.CANCELLED, Reason.TARGET_REPLACED)
    assert scene.replicas() == 2


def test_a_spec_changed_before_the_write_is_planned_anew(scene: Scene) -> None:
    scene.cluster.before_write = [lambda: scene.scale(5)]

    action = scene.act()

    assert outcome(action) == DONE
    assert [(effect.before, effect.replicas) for effect in scene.referee.effects] == [(5, 6)]
    assert [decision.phase for decision in DecisionRecord.objects.order_by("id")] == ["admit", "plan"]


def test_guardrails_judge_the_new_plan(scene: Scene) -> None:
    scene.cluster.before_write = [lambda: scene.scale(8)]

    assert outcome(scene.act()) == (S.CANCELLED, Reason.REPLICA_LIMIT)
    assert scene.replicas() == 8


def test_a_target_that_others_keep_changing_is_left_for_later(scene: Scene) -> None:
    scene.cluster.before_write = [lambda n=n: scene.scale(n) for n in (3, 4, 3, 4, 5)]  # type: ignore[misc]
    post(anomaly("erp-simulator"))

    scene.world.drain()

    assert outcome(only_action()) == (S.PENDING, Reason.CONFLICT)
    assert scene.referee.effects == []


@pytest.mark.parametrize("others", ["label", "touch_status"])
def test_a_change_beside_the_spec_needs_no_new_plan(scene: Scene, others: str) -> None:
    scene.cluster.before_write = [getattr(scene, others)]

    action = scene.act()

    assert outcome(action) == DONE
    assert scene.referee.answers == [409, 200]
    # The guardrails are asked before each write, and the change stays what it was.
    assert [decision.phase for decision in DecisionRecord.objects.order_by("id")] == ["admit", "plan"]


@pytest.mark.parametrize("others", ["label", "touch_status"])
def test_an_unanswered_write_is_sent_again_where_only_the_rest_changed(scene: Scene, others: str) -> None:
    scene.sandbox.fault(Hang(method="PATCH"))
    scene.cluster.after_write = [getattr(scene, others)]

    assert outcome(scene.act()) == DONE
    assert scene.replicas() == 3


@pytest.mark.parametrize("write", [LoseAnswer(method="PATCH"), Hang(method="PATCH")], ids=["landed", "lost"])
def test_an_unanswered_write_is_resolved_when_the_cluster_is_back(scene: Scene, write: RequestReason) -> None:
    blind = Refuse(method="GET", path="/deployments/erp-simulator$", status=500)
    scene.sandbox.fault(write)
    scene.cluster.after_write = [lambda: scene.sandbox.fault(blind)]
    post(anomaly("erp-simulator"))
    scene.world.drain()
    assert outcome(only_action()) == (S.PENDING, Reason.CLUSTER_ERROR)

    Action.objects.update(not_before=Now())
    scene.world.drain()
    Action.objects.filter(state=S.PENDING).update(not_before=Now())
    scene.world.drain()

    assert outcome(only_action()) == DONE
    assert scene.replicas() == 3


def test_a_spec_changed_after_an_unanswered_write_needs_a_review(scene: Scene) -> None:
    scene.sandbox.fault(Hang(method="PATCH"))
    scene.cluster.after_write = [lambda: scene.scale(5)]

    action = scene.act()

    assert outcome(action) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)
    assert scene.referee.effects == []
    assert scene.replicas() == 5


def test_an_effect_whose_trace_was_removed_needs_a_review(scene: Scene) -> None:
    scene.sandbox.fault(LoseAnswer(method="PATCH"))
    scene.cluster.after_write = [scene.strip_annotations]

    action = scene.act()

    assert outcome(action) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)
    assert len(scene.referee.of(action.pk)) == 1


def test_an_unanswered_effect_that_was_scaled_over_is_recognized_and_superseded(scene: Scene) -> None:
    scene.sandbox.fault(LoseAnswer(method="PATCH"))
    scene.cluster.after_write = [lambda: scene.scale(5)]

    action = scene.act()

    assert outcome(action) == (S.FAILED, Reason.SUPERSEDED)
    assert action.applied_at is not None
    assert scene.replicas() == 5


def test_a_final_refusal_after_an_unanswered_write_is_no_end_of_it(scene: Scene) -> None:
    """The target has not changed: what was not answered was not applied, and may still be."""
    scene.sandbox.fault(Hang(method="PATCH"))
    scene.sandbox.fault(Refuse(method="PATCH", status=403, count=ALWAYS))

    action = scene.act()

    assert outcome(action) == (S.FAILED, Reason.RETRIES_EXHAUSTED)
    assert "refuse this request with 403" in action.message
    assert scene.replicas() == 2


def test_an_attempt_makes_one_write_where_the_server_fails(scene: Scene) -> None:
    scene.sandbox.fault(Refuse(method="PATCH", status=500, count=ALWAYS))
    post(anomaly("erp-simulator"))

    scene.world.drain()

    assert outcome(only_action()) == (S.PENDING, Reason.CLUSTER_ERROR)
    assert [one.status for one in scene.sandbox.requests if one.method == "PATCH"] == [500]


def test_a_webhook_that_cannot_be_called_is_named_until_the_deadline(scene: Scene) -> None:
    scene.sandbox.fault(Refuse(method="PATCH", status=500, message=WEBHOOK, count=ALWAYS))

    action = scene.act()

    assert outcome(action) == (S.PENDING, Reason.ADMISSION_UNAVAILABLE)
    assert (action.message, action.ambiguous, action.planned_resource_version) == (WEBHOOK, False, "")
    assert action.attempts > MAX_ATTEMPTS
    Action.objects.update(deadline_at=Now())
    scene.world.drain()
    assert outcome(only_action()) == (S.CANCELLED, Reason.ACTION_EXPIRED)
    assert only_action().message == WEBHOOK


def test_a_cluster_that_is_away_is_tried_again(scene: Scene, tmp_path: Any) -> None:
    kubeconfig = tmp_path / "nobody"
    write_kubeconfig(kubeconfig, "http://127.0.0.1:9")
    here = scene.cluster._connection
    away = Connection(kubeconfig, timeout=0.5, connections=1)

    def goes_away() -> None:
        scene.cluster._connection = away

    scene.cluster.before_write = [goes_away]
    post(anomaly("erp-simulator"))
    scene.world.drain()

    assert outcome(only_action()) == (S.PENDING, Reason.CLUSTER_UNREACHABLE)
    assert only_action().ambiguous is False

    scene.cluster._connection = here
    Action.objects.update(not_before=Now())
    scene.world.drain()

    assert outcome(only_action()) == DONE


def test_an_error_of_our_own_after_the_write_does_not_hide_the_effect(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(transitions, "apply", fails)

    action = scene.act()

    assert len(scene.referee.effects) == 1
    assert outcome(action) == (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN)


def test_an_action_counts_from_its_effect_on(scene: Scene) -> None:
    """An effect whose answer was lost uses up the limit like any other."""
    GuardrailSetting.objects.update(max_actions_per_hour=1, cooldown_seconds=0)
    scene.sandbox.fault(LoseAnswer(method="PATCH"))
    scene.act()
    post(anomaly("erp-simulator", "latency"))

    scene.world.drain()

    assert Action.objects.count() == 1
    assert DecisionRecord.objects.order_by("-id")[0].reason == Reason.RATE_LIMIT


def test_a_change_that_the_cluster_refused_is_held_back_from_the_next_signal_but_not_from_a_person(
    scene: Scene,
) -> None:
    scene.sandbox.fault(Refuse(method="PATCH", status=422, message="admission webhook denied it"))
    assert outcome(scene.act()) == (S.FAILED, Reason.CLUSTER_REJECTED)

    post(anomaly("erp-simulator"))
    scene.world.drain()

    waits = DecisionRecord.objects.order_by("-id")[0]
    assert (waits.outcome, waits.reason) == ("defer", Reason.RECENTLY_REFUSED)
    assert "admission webhook denied it" in waits.message
    assert len([one for one in scene.sandbox.requests if one.method == "PATCH"]) == 1

    requested("erp-simulator")
    scene.world.drain()
    assert scene.replicas() == 3
