"""Why a control loop is not ready, and what does not work although it is, in the words of /readyz."""

from queue import Queue
from typing import Any

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.resources import AUTOSCALERS, DEPLOYMENTS
from orchestrator.k8s.types import WatchEvent, WatchEventType, WorkloadKey
from orchestrator.reconciler.loop import Reconciler
from tests.orchestrator.reconciler.fake import END, Fake

SYNCED: WatchEvent[Any] = WatchEvent(WatchEventType.SYNCED)
FIRST = "the first list has not ended yet"


def test_a_cache_names_each_list_that_it_waits_for() -> None:
    fake, changes = Fake(), Queue[WorkloadKey]()
    watches = [watched.setdefault(name, Queue()) for watched in (fake.deployments, fake.autoscalers) for name in "ab"]
    cache = ClusterCache(fake.cluster, ["a", "b"], changes.put)
    lists = [
        f"{kind} in namespace {name}: {FIRST}" for kind in ("deployments", "horizontalpodautoscalers") for name in "ab"
    ]
    cache.start()
    assert [str(one) for one in cache.unsynced()] == lists

    for done, watch in enumerate(watches, start=1):
        watch.put(SYNCED)
        changes.get(timeout=5)
        assert [str(one) for one in cache.unsynced()] == lists[done:]
    for watch in watches:
        watch.put(END)
    cache.stop()


def test_an_unsynced_cache_makes_the_loop_unready() -> None:
    assert Reconciler(Fake().cluster, "default", ["*"]).problems() == [
        f"cache not synced: deployments in all namespaces: {FIRST}",
        f"cache not synced: horizontalpodautoscalers in all namespaces: {FIRST}",
    ]


def test_a_loop_is_ready_with_one_namespace_and_names_the_cause_of_each_other() -> None:
    reconciler = Reconciler(Fake().cluster, "default", ["left", "shop", "slow"])
    left = 'deployments.apps is forbidden: User "smartops" cannot list resource "deployments" in the namespace "left"'
    reconciler.cache._report(DEPLOYMENTS, "left", WatchEvent(WatchEventType.REFUSED, message=left))
    reconciler.cache._report(DEPLOYMENTS, "slow", WatchEvent(WatchEventType.FAILED, message="Read timed out."))
    for namespace in ("left", "shop", "slow"):
        reconciler.cache._report(AUTOSCALERS, namespace, SYNCED)
    waiting = f"cache not synced: deployments in namespace shop: {FIRST}"
    broken = [
        f"cache not synced: deployments in namespace left: {left}",
        "cache not synced: deployments in namespace slow: Read timed out.",
    ]
    assert (reconciler.problems(), reconciler.warnings()) == ([broken[0], waiting, broken[1]], [])

    reconciler.cache._report(DEPLOYMENTS, "shop", SYNCED)

    assert (reconciler.problems(), reconciler.warnings()) == ([], broken)


def test_a_loop_without_a_pass_is_stalled() -> None:
    reconciler = Reconciler(Fake().cluster, "default", [])
    alive = reconciler.alive
    reconciler._turned_at -= 42
    reconciler._passed_at -= 42

    assert (alive, reconciler.alive) == (True, False)
    assert reconciler.problems() == ["control loop stalled: no pass for 42 s"]


def test_a_loop_whose_passes_fail_is_alive_and_names_the_database() -> None:
    reconciler = Reconciler(Fake().cluster, "default", [])
    reconciler._passed_at -= 42

    assert reconciler.alive
    assert reconciler.problems() == ["database unavailable: no pass of the control loop has succeeded for 42 s"]
