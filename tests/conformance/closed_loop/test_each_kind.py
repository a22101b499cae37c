"""The closed loop and direct actions on StatefulSets and DaemonSets, each judged by the audit log when it is over."""

import pytest

from guardrails.models import GuardrailSetting
from signals.types import Kind
from tests.conformance.kinds import SCALED, SETS, Sample, Samples, nodes, sample
from tests.conformance.loop import Judge, Loop, evidence
from tests.kit.client import Client
from tests.kit.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
SLOW = {"ready_after": "1h"}  # a rollout to step into
MORE_MEMORY = {"spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": "64Mi"}}}]}}


@SETS
def test_a_memory_leak_restarts_all_pods_which_is_verified(
    sample: Samples, loop: Loop, judge: Judge, kubectl: Kubectl, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create()
    before = erp.pods()

    action = loop.outcome(loop.root_cause(erp.name, kind=kind))

    assert (action["type"], action["state"], evidence(action)) == ("RESTART", "succeeded", ("SUCCESS", 2, 2, 2))
    assert action["target"]["kind"] == kind
    assert judge.changes() == [("RESTART", erp.path)]
    assert kubectl("rollout", "status", erp.path, "--watch=false").code == 0
    assert (len(erp.pods()), erp.pods() & before) == (2, set())


@SCALED
def test_a_resource_anomaly_adds_one_replica_which_is_verified(
    sample: Samples, loop: Loop, judge: Judge, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create()

    action = loop.outcome(loop.anomaly(erp.name, kind=kind))

    assert (action["type"], action["state"], evidence(action)) == ("SCALE", "succeeded", ("SUCCESS", 3, 3, 3))
    assert judge.changes() == [("SCALE", erp.path)]
    assert erp.get()["spec"]["replicas"] == 3


def test_a_daemon_set_is_not_scaled(sample: Samples, loop: Loop, judge: Judge) -> None:
    erp = sample(Kind.DAEMON_SET)
    erp.create()

    status, problem = loop.ask("scale", erp.name, kind=erp.kind, replicas=3)
    signal = loop.decided(loop.anomaly(erp.name, kind=erp.kind))

    assert (status, problem["reason"]) == (400, "UnsupportedByKind")
    assert (signal["state"], signal["reason"]) == ("denied", "UnsupportedByKind")
    assert judge.changes() == []


@SETS
def test_a_patch_is_answered_when_it_is_verified(sample: Samples, loop: Loop, judge: Judge, kind: Kind) -> None:
    erp = sample(kind)
    erp.create()

    status, told = loop.ask("patch", erp.name, kind=kind, patch={"spec": {"template": MORE_MEMORY}})

    assert (status, told["success"], told["verification"]["status"]) == (200, True, "SUCCESS")
    assert judge.changes() == [("PATCH", erp.path)]
    assert erp.get()["metadata"]["annotations"]["smartops.io/action"] == told["details"]["action"]


@SETS
def test_a_dry_run_changes_nothing(sample: Samples, loop: Loop, judge: Judge, kind: Kind) -> None:
    erp = sample(kind)
    erp.create()

    status, told = loop.ask("restart", erp.name, kind=kind, dry_run=True)

    assert (status, told["dry_run"], judge.changes()) == (200, True, [])
    assert erp.get()["metadata"]["generation"] == 1


def test_workloads_of_one_name_are_different_targets(
    sample: Samples, http: Client, namespace: str, loop: Loop, judge: Judge
) -> None:
    both = [Sample(http, kind, namespace) for kind in (Kind.DEPLOYMENT, Kind.STATEFUL_SET)]
    for erp in both:
        made = erp.manifest()
        made["spec"]["selector"] = {"matchLabels": {"kind": erp.kind}}
        made["spec"]["template"]["metadata"]["labels"] = {"kind": erp.kind}
        http.create(erp.resource, made)
    for erp in both:
        erp.rolled_out()

    signals = [loop.root_cause(erp.name, kind=erp.kind) for erp in both]

    assert [loop.outcome(signal)["target"]["kind"] for signal in signals] == [erp.kind for erp in both]
    assert sorted(judge.changes()) == [("RESTART", both[0].name), ("RESTART", both[1].path)]


@SETS
def test_a_rollout_of_somebody_else_is_waited_for(
    sample: Samples, loop: Loop, judge: Judge, kubectl: Kubectl, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create()
    slow = erp.manifest(sim=SLOW)["spec"]["template"]
    erp.patch({"spec": {"template": slow}}, fieldManager="kubectl-set")
    erp.http.wait(erp.resource, lambda found: found["status"]["observedGeneration"] == 2)

    assert loop.held_back(loop.root_cause(erp.name, kind=kind)) == "RolloutInProgress"
    assert judge.changes() == []


@SETS
def test_a_rollout_that_makes_no_progress_is_told_so(sample: Samples, loop: Loop, judge: Judge, kind: Kind) -> None:
    erp = sample(kind)
    erp.create(sim=SLOW)
    erp.http.wait(erp.resource, lambda found: bool(found.get("status", {}).get("observedGeneration")))
    GuardrailSetting.objects.create(namespace=loop.namespace, verification_timeout_seconds=1)

    status, told = loop.ask("restart", erp.name, kind=kind)

    assert (status, told["success"], told["verification"]["status"]) == (200, False, "TIMED_OUT")
    assert loop.action(told["details"]["action"])["reason"] == "VerificationTimedOut"
    assert judge.changes() == [("RESTART", erp.path)]


@SETS
def test_a_change_that_a_third_party_undoes_is_superseded(
    sample: Samples, loop: Loop, judge: Judge, kubectl: Kubectl, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create(sim=SLOW)
    erp.http.wait(erp.resource, lambda found: bool(found.get("status", {}).get("observedGeneration")))
    action = loop.start("restart", erp.name, kind=kind)
    erp.http.wait(erp.resource, lambda found: found["status"]["observedGeneration"] == 2)  # an undo needs two revisions

    assert kubectl("rollout", "undo", erp.path).code == 0

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"]) == ("failed", "Superseded")
    assert judge.changes() == [("RESTART", erp.path)]


@SETS
def test_pods_that_somebody_has_to_delete_are_not_restarted(
    sample: Samples, loop: Loop, judge: Judge, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create(updateStrategy={"type": "OnDelete"})

    status, problem = loop.ask("restart", erp.name, kind=kind)
    signal = loop.decided(loop.root_cause(erp.name, kind=kind))

    assert (status, problem["reason"]) == (409, "RolloutHeld")
    assert (signal["state"], signal["reason"]) == ("pending", "RolloutHeld")
    status, told = loop.ask("patch", erp.name, kind=kind, patch={"metadata": {"labels": {"team": "shop"}}})
    assert (status, told["success"]) == (200, True), "what needs no new pods is changed"
    assert judge.changes() == [("PATCH", erp.path)]


@SETS
def test_a_workload_that_is_deleted_while_it_is_verified_is_gone(
    sample: Samples, loop: Loop, judge: Judge, kubectl: Kubectl, kind: Kind
) -> None:
    erp = sample(kind)
    erp.create(sim=SLOW)
    action = loop.start("restart", erp.name, kind=kind)

    assert kubectl("delete", erp.path).code == 0

    ended = loop.ended(action)
    assert (ended["state"], ended["reason"]) == ("failed", "TargetGone")
    assert judge.changes() == [("RESTART", erp.path)]


__all__ = ["nodes", "sample"]
