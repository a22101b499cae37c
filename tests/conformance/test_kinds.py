"""What our client reads, watches and writes of StatefulSets and DaemonSets. The other modules have Deployments."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from time import sleep

import pytest

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import Conflict, Invalid, NotFound
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.revision import latest_rollout
from orchestrator.k8s.rollout import Complete, Progressing, rollout
from orchestrator.k8s.types import ACTION_ANNOTATION, FIELD_MANAGER, Preconditions, WatchEventType
from signals.types import Kind
from tests.conformance.kinds import SCALED, SETS, Sample, Samples, nodes, sample
from tests.conformance.states import reached, version
from tests.kit.kubectl import Kubectl
from tests.kit.patience import PATIENCE

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
TEMPLATE = {"spec": {"template": {"metadata": {"annotations": {"note": "x"}}}}}


def of(found: Sample, cluster: KubernetesCluster) -> Preconditions:
    live = cluster.get_workload(found.key)
    return Preconditions(live.uid, live.resource_version)


def until(found: Sample, since: str, state: RolloutState) -> RolloutFacts:
    return latest_rollout(reached(found.http, since, state, kind=found.kind))


@SETS
def test_a_workload_is_read_with_its_counts(
    cluster: KubernetesCluster, namespace: str, sample: Samples, kind: Kind
) -> None:
    found = sample(kind)
    status = found.create()["status"]
    live = cluster.get_workload(found.key)

    assert cluster.list_workloads(kind, namespace) == [live]
    assert (live.key, live.replicas, live.status_replicas) == (found.key, 2, 2)
    assert (live.updated_replicas, live.ready_replicas, live.available_replicas) == (2, 2, 2)
    assert (live.observed_generation, live.generation) == (status["observedGeneration"], 1)
    assert isinstance(rollout(live), Complete)
    assert [pod.ready for pod in cluster.list_pods(namespace, live.selector)] == [True, True]


@SETS
def test_a_restart_is_followed_to_its_end_as_kubectl_follows_it(
    cluster: KubernetesCluster, kubectl: Kubectl, sample: Samples, kind: Kind
) -> None:
    found = sample(kind)
    found.create()
    before = found.pods()

    written = cluster.restart_workload(found.key, "a-1", preconditions=of(found, cluster), action="a-1")
    assert (written.generation, written.annotations[ACTION_ANNOTATION]) == (2, "a-1")
    assert isinstance(rollout(written), Progressing)
    done = cluster.wait_for_rollout(found.key, timeout=PATIENCE)

    assert isinstance(rollout(done), Complete)
    assert kubectl("rollout", "status", found.path, "--watch=false").code == 0
    assert (len(found.pods()), found.pods() & before) == (2, set())
    assert cluster.restart_workload(found.key, "a-1", action="a-1").generation == 2, "the same again changes nothing"


@SCALED
def test_a_workload_is_scaled_through_its_spec(cluster: KubernetesCluster, sample: Samples, kind: Kind) -> None:
    found = sample(kind)
    found.create()
    for replicas in (3, 1):
        written = cluster.scale_workload(found.key, replicas, preconditions=of(found, cluster), action=f"a-{replicas}")
        assert (written.replicas, written.available_replicas == replicas) == (replicas, False)
        done = cluster.wait_for_rollout(found.key, timeout=PATIENCE)
        assert (done.status_replicas, done.available_replicas) == (replicas, replicas)


def test_a_daemon_set_cannot_be_scaled(cluster: KubernetesCluster, sample: Samples) -> None:
    found = sample(Kind.DAEMON_SET)
    found.create()
    with pytest.raises(Invalid):
        cluster.scale_workload(found.key, 3)


@SETS
def test_a_write_against_another_version_or_object_is_refused(
    cluster: KubernetesCluster, sample: Samples, kind: Kind
) -> None:
    found = sample(kind)
    found.create()
    stale = of(found, cluster)
    found.patch({"metadata": {"labels": {"team": "shop"}}})

    for wrong in (stale, Preconditions("00000000-0000-0000-0000-000000000000", stale.resource_version)):
        with pytest.raises(Conflict):
            cluster.restart_workload(found.key, "a-1", preconditions=wrong, action="a-1")
    with pytest.raises(NotFound):
        cluster.get_workload(Sample(found.http, kind, found.namespace, "nowhere").key)
    assert found.get()["metadata"]["generation"] == 1


@SETS
def test_a_change_of_labels_does_not_move_the_generation(
    cluster: KubernetesCluster, sample: Samples, kind: Kind
) -> None:
    found = sample(kind)
    found.create()
    written = cluster.patch_workload(
        found.key, {"metadata": {"labels": {"team": "shop"}}}, preconditions=of(found, cluster), action="a-1"
    )
    assert (written.generation, written.annotations) == (1, {ACTION_ANNOTATION: "a-1"})
    assert "metadata.labels.team" in written.ours


@SETS
def test_a_watch_reports_each_change(cluster: KubernetesCluster, namespace: str, sample: Samples, kind: Kind) -> None:
    found, seen = sample(kind), list[tuple[WatchEventType, int]]()
    found.create()
    with closing(cluster.watch_workloads(kind, namespace, Interruption())) as events:
        for event in events:
            seen.append((event.type, event.object.generation if event.object else 0))
            if event.type is WatchEventType.SYNCED:
                found.patch(TEMPLATE)
            if event.type is WatchEventType.CHANGED and event.object and event.object.generation == 2:
                found.http.send("DELETE", found.path)
            if event.type is WatchEventType.DELETED:
                break
    assert seen[:2] == [(WatchEventType.CHANGED, 1), (WatchEventType.SYNCED, 0)]


@SETS
def test_a_rollout_shows_whose_it_is_and_when_it_ends(cluster: KubernetesCluster, sample: Samples, kind: Kind) -> None:
    found = sample(kind)
    created = found.http.create(found.resource, found.manifest(minReadySeconds=1))
    first = until(found, version(created), RolloutState.COMPLETE)
    moment = datetime.fromisoformat(created["metadata"]["creationTimestamp"])
    sleep(max(0.0, (moment + timedelta(seconds=2.1) - datetime.now(UTC)).total_seconds()))
    later = latest_rollout(cluster.get_workload(found.key))  # the controller may have written since
    for facts in (first, later):
        assert (facts.state, facts.first, facts.ours, facts.changed_at) == (RolloutState.COMPLETE, True, False, None)

    changed = version(found.patch(TEMPLATE, fieldManager="kubectl-set"))
    theirs = until(found, changed, RolloutState.IN_PROGRESS)
    assert (theirs.by, theirs.changed_by, theirs.ours, theirs.first) == ("kubectl-set", "kubectl-set", False, False)
    assert until(found, changed, RolloutState.COMPLETE).changed_by == "kubectl-set"
    cluster.wait_for_rollout(found.key, timeout=PATIENCE)

    sleep(1.1)  # the resolution of the times in managedFields
    written = cluster.restart_workload(found.key, "a-1", preconditions=of(found, cluster), action="a-1")
    ours = until(found, written.resource_version, RolloutState.IN_PROGRESS)
    assert (ours.by, ours.ours, ours.changed_by) == (FIELD_MANAGER, True, "kubectl-set")
    until(found, written.resource_version, RolloutState.COMPLETE)


def test_pods_below_the_partition_are_not_waited_for(
    cluster: KubernetesCluster, kubectl: Kubectl, sample: Samples
) -> None:
    found = sample(Kind.STATEFUL_SET)
    found.create(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    before = found.pods()
    cluster.restart_workload(found.key, "a-1", preconditions=of(found, cluster), action="a-1")
    done = cluster.wait_for_rollout(found.key, timeout=PATIENCE)

    assert (done.updated_replicas, done.is_current, done.partition) == (1, False, 1)
    assert rollout(done) == Complete("1 of 2 replicas are updated above the partition 1; all are available")
    assert "partitioned roll out complete: 1 new pods" in kubectl("rollout", "status", found.path, "--watch=false").said
    assert len(found.pods() & before) == 1
    assert latest_rollout(done).state is RolloutState.COMPLETE


__all__ = ["nodes", "sample"]
