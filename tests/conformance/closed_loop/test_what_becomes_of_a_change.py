"""A change that does not help, that somebody undoes, or whose target goes away: told as it was seen, with the evidence,
and never written again."""

import time
from collections.abc import Callable

import pytest

from guardrails.models import GuardrailSetting
from tests.conformance.given_up import progress, until_given_up
from tests.conformance.loop import Judge, Loop, evidence
from tests.kit.client import Client, Object
from tests.kit.kubectl import Kubectl
from tests.kit.manifests import deployment

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SERVICE = "erp-simulator"
PATH = f"deployments/{SERVICE}"
MORE_MEMORY = {
    "spec": {"template": {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}}}
}
SLOW = {"ready_after": "1h"}  # a rollout to step into


@pytest.mark.parametrize("outcome", ["crash", "stuck"])
def test_a_restart_that_does_not_help_is_told_with_what_was_seen(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl, outcome: str
) -> None:
    http.create("deployments", deployment(SERVICE, sim={"outcome": outcome}, replicas=2, progressDeadlineSeconds=1))
    until_given_up(http, SERVICE)

    action = loop.outcome(loop.root_cause(SERVICE))

    assert (action["type"], action["state"], action["reason"]) == ("RESTART", "failed", "ProgressDeadlineExceeded")
    status = http.get(PATH)["status"]
    assert evidence(action) == ("FAILED", 2, status.get("readyReplicas", 0), status.get("availableReplicas", 0))
    message = action["verification"]["message"]
    assert message.startswith(progress(http.get(PATH))["message"])
    assert {"crash": "CrashLoopBackOff", "stuck": "ImagePullBackOff"}[outcome] in message
    assert action["verification"]["finished_at"] is not None
    assert [(event["from_state"], event["to_state"]) for event in action["timeline"]][-1] == ("verifying", "failed")
    shown = kubectl("rollout", "status", f"deployment/{SERVICE}", "--watch=false")
    assert (shown.code, "exceeded its progress deadline" in shown.said) == (1, True)
    assert judge.changes() == [("RESTART", SERVICE)]


def test_a_label_that_the_creator_adds_to_a_stuck_first_rollout_is_no_change_of_its_pods(
    loop: Loop, judge: Judge, http: Client
) -> None:
    """managedFields have one time for all fields of a manager."""
    http.create("deployments", deployment(SERVICE, sim={"outcome": "stuck"}, replicas=2, progressDeadlineSeconds=1))
    until_given_up(http, SERVICE)
    time.sleep(1)  # the resolution of these times
    http.patch(PATH, {"metadata": {"labels": {"team": "shop"}}})

    assert loop.outcome(loop.root_cause(SERVICE))["type"] == "RESTART"
    assert judge.changes() == [("RESTART", SERVICE)]


def test_healthy_old_pods_do_not_make_a_rollout_that_cannot_end_a_success(
    loop: Loop, judge: Judge, http: Client
) -> None:
    http.create("deployments", deployment(SERVICE, replicas=2, progressDeadlineSeconds=1))
    http.rolled_out(SERVICE)
    broken = deployment(SERVICE, sim={"outcome": "crash"})["spec"]["template"]
    http.patch(PATH, {"spec": {"paused": True, "template": broken}})

    status, told = loop.ask("patch", SERVICE, patch={"spec": {"paused": False}})

    assert (status, told["success"]) == (200, False)
    seen = told["verification"]
    assert (seen["status"], seen["desired_replicas"], seen["available_replicas"]) == ("FAILED", 2, 2)
    assert seen["updated_replicas"] == 1
    assert "progress" in told["message"]
    assert judge.changes() == [("PATCH", SERVICE)]


def test_a_rollout_that_takes_too_long_is_told_so(loop: Loop, judge: Judge, http: Client) -> None:
    http.create("deployments", deployment(SERVICE, sim=SLOW, progressDeadlineSeconds=2**31 - 1))  # none
    GuardrailSetting.objects.create(namespace=loop.namespace, verification_timeout_seconds=1)

    status, told = loop.ask("scale", SERVICE, replicas=3)

    assert (status, told["success"], told["verification"]["status"]) == (200, False, "TIMED_OUT")
    action = loop.action(told["details"]["action"])
    assert (action["state"], action["reason"]) == ("timed_out", "VerificationTimedOut")
    assert evidence(action) == ("TIMED_OUT", 3, 0, 0)
    assert judge.changes() == [("SCALE", SERVICE)]


def _undo_by_kubectl_scale(http: Client, kubectl: Kubectl, before: Object) -> None:
    assert kubectl("scale", f"deployment/{SERVICE}", "--replicas=2").code == 0


def _undo_by_replacing_the_whole(http: Client, kubectl: Kubectl, before: Object) -> None:
    assert http.send("PUT", PATH, before)[0] == 200


def _undo_by_a_merge_patch(http: Client, kubectl: Kubectl, before: Object) -> None:
    http.patch(PATH, {"metadata": {"annotations": {"smartops.io/action": None}}, "spec": {"replicas": 2}})


def _undo_by_kubectl_rollout(http: Client, kubectl: Kubectl, before: Object) -> None:
    """Once the controller has made the revision: before, there is none to go back to."""
    written = http.get(PATH)["metadata"]["generation"]
    http.wait("deployments", lambda found: found["status"]["observedGeneration"] >= written)
    assert kubectl("rollout", "undo", f"deployment/{SERVICE}").code == 0


def _undo_by_kubectl_set_resources(http: Client, kubectl: Kubectl, before: Object) -> None:
    assert kubectl("set", "resources", f"deployment/{SERVICE}", "--limits=memory=32Mi").code == 0


def _undo_by_taking_the_mark_away(http: Client, kubectl: Kubectl, before: Object) -> None:
    http.patch(PATH, {"spec": {"template": {"metadata": {"annotations": {"smartops.io/restart": None}}}}})


Undo = Callable[[Client, Kubectl, Object], None]
UNDONE: dict[str, tuple[str, Object, Undo]] = {
    "kubectl scale": ("scale", {"replicas": 3}, _undo_by_kubectl_scale),
    "a merge patch": ("scale", {"replicas": 3}, _undo_by_a_merge_patch),
    "a scaled one replaced": ("scale", {"replicas": 3}, _undo_by_replacing_the_whole),
    "a restarted one replaced": ("restart", {}, _undo_by_replacing_the_whole),
    "a restarted one scaled down": ("restart", {}, lambda http, *_: http.patch(PATH, {"spec": {"replicas": 0}})),
    "a restart's mark taken away": ("restart", {}, _undo_by_taking_the_mark_away),
    "kubectl set resources": ("patch", {"patch": MORE_MEMORY}, _undo_by_kubectl_set_resources),
    "kubectl rollout undo": ("restart", {}, _undo_by_kubectl_rollout),
}


@pytest.mark.parametrize(("verb", "fields", "undo"), UNDONE.values(), ids=UNDONE)
def test_a_change_that_a_third_party_undoes_during_verification_is_superseded(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl, verb: str, fields: Object, undo: Undo
) -> None:
    manifest = deployment(SERVICE, sim=SLOW, replicas=2)
    http.create("deployments", manifest)
    http.wait("deployments", _is_observed)
    action = loop.start(verb, SERVICE, **fields)

    undo(http, kubectl, manifest)

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"]) == ("failed", "Superseded")
    assert ended["verification"]["status"] == "FAILED"
    assert ended["verification"]["desired_replicas"] == http.get(PATH)["spec"]["replicas"]
    assert judge.changes() == [(verb.upper(), SERVICE)]


def test_a_size_that_somebody_else_sets_is_not_fought_over(loop: Loop, judge: Judge, http: Client) -> None:
    http.create("deployments", deployment(SERVICE, replicas=2))
    http.rolled_out(SERVICE)
    slow = deployment(SERVICE, sim=SLOW)["spec"]["template"]
    http.patch(PATH, {"spec": {"template": slow}})
    action = loop.start("scale", SERVICE, replicas=3)

    http.patch(PATH, {"spec": {"replicas": 2}})
    assert loop.ended(action)["reason"] == "Superseded"
    again = loop.decided(loop.anomaly(SERVICE))

    assert (again["state"], again["reason"]) == ("pending", "CooldownActive")
    assert judge.changes() == [("SCALE", SERVICE)]
    assert http.get(PATH)["spec"]["replicas"] == 2


def test_a_change_beside_ours_is_verified_with_it(loop: Loop, judge: Judge, http: Client, kubectl: Kubectl) -> None:
    http.create("deployments", deployment(SERVICE, sim=SLOW, replicas=2))
    http.wait("deployments", _is_observed)
    action = loop.start("scale", SERVICE, replicas=3)

    quick = deployment(SERVICE)["spec"]["template"]
    http.patch(PATH, {"spec": {"template": quick}})
    assert kubectl("set", "image", f"deployment/{SERVICE}", "app=example.test/app:2").code == 0

    ended = loop.ended(action)
    assert (ended["state"], evidence(ended)) == ("succeeded", ("SUCCESS", 3, 3, 3))
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_deployment_that_is_deleted_meanwhile_is_gone(
    loop: Loop, judge: Judge, http: Client, kubectl: Kubectl
) -> None:
    http.create("deployments", deployment(SERVICE, sim=SLOW))
    action = loop.start("scale", SERVICE, replicas=2)

    assert kubectl("delete", f"deployment/{SERVICE}").code == 0

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"]) == ("failed", "TargetGone")
    assert judge.changes() == [("SCALE", SERVICE)]


def test_a_new_deployment_of_the_same_name_is_not_touched(loop: Loop, judge: Judge, http: Client) -> None:
    http.create("deployments", deployment(SERVICE, sim=SLOW))
    action = loop.start("restart", SERVICE)

    assert http.send("DELETE", PATH)[0] == 200
    http.create("deployments", deployment(SERVICE))

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"] in ("TargetReplaced", "TargetGone")) == ("failed", True)
    assert ended["verification"]["status"] == "FAILED"
    assert http.rolled_out(SERVICE)["metadata"]["generation"] == 1
    assert judge.changes() == [("RESTART", SERVICE)]


def _is_observed(found: Object) -> bool:
    return bool(found.get("status", {}).get("observedGeneration"))
