"""Why a control loop is not ready, and what does not work although it is, in the words of /readyz."""

from queue import Queue
from typing import Any

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.resources import AUTOSCALERS, DAEMON_SETS, DEPLOYMENTS, STATEFUL_SETS
from orchestrator.k8s.types import WatchEvent, WatchEventType, WorkloadKey
from orchestrator.reconciler.loop import Reconciler
from signals.types import Kind
from tests.kit.patience import PATIENCE
from tests.orchestrator.reconciler.fake import END, Fake

SYNCED: WatchEvent[Any] = WatchEvent(WatchEventType.SYNCED)
FIRST = "the first list has not ended yet"


def test_a_cache_names_each_list_that_it_waits_for() -> None:
    fake, changes = Fake(), Queue[WorkloadKey]()
    watched = {
        "daemonsets": fake.workloads[Kind.DAEMON_SET],
        "deployments": fake.deployments,
        "horizontalpodautoscalers": fake.autoscalers,
        "statefulsets": fake.workloads[Kind.STATEFUL_SET],
    }
    watches = [queues.setdefault(name, Queue()) for queues in watched.values() for name in "ab"]
    cache = ClusterCache(fake.cluster, ["a", "b"], changes.put)
    lists = [f"{resource} in namespace {name}: {FIRST}" for resource in watched for name in "ab"]
    cache.start()
    assert [str(one) for one in cache.unsynced()] == lists

    for done, watch in enumerate(watches, start=1):
        watch.put(SYNCED)
        changes.get(timeout=PATIENCE)
        assert [str(one) for one in cache.unsynced()] == lists[done:]
    for watch in watches:
        watch.put(END)
    cache.stop()


def test_an_unsynced_cache_makes_the_loop_unready() -> None:
    assert Reconciler(Fake().cluster, "default", ["*"]).readiness.problems() == [
        f"cache not synced: {resource} in all namespaces: {FIRST}"
        for resource in ("daemonsets", "deployments", "horizontalpodautoscalers", "statefulsets")
    ]


def test_a_loop_is_ready_with_one_namespace_and_names_the_cause_of_each_list_that_it_cannot_read() -> None:
    reconciler = Reconciler(Fake().cluster, "default", ["left", "shop", "slow"])
    left = 'deployments.apps is forbidden: User "smartops" cannot list resource "deployments" in the namespace "left"'
    sets = "statefulsets.apps is forbidden"
    for namespace in ("left", "shop", "slow"):
        for resource in (AUTOSCALERS, DAEMON_SETS):
            reconciler.cache._report(resource, namespace, SYNCED)
        reconciler.cache._report(STATEFUL_SETS, namespace, WatchEvent(WatchEventType.REFUSED, message=sets))
    reconciler.cache._report(DEPLOYMENTS, "left", WatchEvent(WatchEventType.REFUSED, message=left))
    reconciler.cache._report(DEPLOYMENTS, "slow", WatchEvent(WatchEventType.FAILED, message="Read timed out."))
    reconciler.cache._report(DEPLOYMENTS, "shop", SYNCED)

    assert (reconciler.readiness.problems(), reconciler.readiness.warnings()) == (
        [],
        [
            f"cache not synced: deployments in namespace left: {left}",
            "cache not synced: deployments in namespace slow: Read timed out.",
            *(f"cache not synced: statefulsets in namespace {one}: {sets}" for one in ("left", "shop", "slow")),
        ],
    )
    assert reconciler.cache.readable == ["shop"]
    assert [reconciler.cache.is_readable("shop", kind) for kind in Kind] == [True, False, True]


def test_a_loop_that_can_read_no_deployments_in_any_namespace_is_not_ready() -> None:
    reconciler = Reconciler(Fake().cluster, "default", ["left"])
    for resource in (STATEFUL_SETS, DAEMON_SETS, AUTOSCALERS):
        reconciler.cache._report(resource, "left", SYNCED)
    refused: WatchEvent[Any] = WatchEvent(WatchEventType.REFUSED, message="deployments.apps is forbidden")
    reconciler.cache._report(DEPLOYMENTS, "left", refused)
    assert reconciler.readiness.problems() == [
        "cache not synced: deployments in namespace left: deployments.apps is forbidden"
    ]


def test_a_loop_without_a_pass_is_stalled() -> None:
    readiness = Reconciler(Fake().cluster, "default", []).readiness
    alive = readiness.alive
    readiness.began_at -= 42
    readiness.ended_at -= 42

    assert (alive, readiness.alive) == (True, False)
    assert readiness.problems() == ["control loop stalled: no pass for 42 s"]


def test_a_loop_whose_passes_fail_is_alive_and_says_since_when() -> None:
    readiness = Reconciler(Fake().cluster, "default", []).readiness
    readiness.ended_at -= 42

    assert readiness.alive
    assert readiness.problems() == ["no pass of the control loop has succeeded for 42 s"]
