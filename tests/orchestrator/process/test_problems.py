"""Why a control loop is not ready, in the words of /readyz."""

from queue import Queue
from typing import Any

from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.types import WatchEvent, WatchEventType, WorkloadKey
from orchestrator.reconciler.loop import Reconciler
from tests.orchestrator.reconciler.fake import END, Fake

SYNCED: WatchEvent[Any] = WatchEvent(WatchEventType.SYNCED)


def test_a_cache_names_each_list_that_it_waits_for() -> None:
    fake, changes = Fake(), Queue[WorkloadKey]()
    watches = [watched.setdefault(name, Queue()) for watched in (fake.deployments, fake.autoscalers) for name in "ab"]
    cache = ClusterCache(fake.cluster, ["a", "b"], changes.put)
    lists = [f"{kind} in namespace {name}" for kind in ("deployments", "horizontalpodautoscalers") for name in "ab"]
    cache.start()
    assert sorted(cache.unsynced()) == lists

    for done, watch in enumerate(watches, start=1):
        watch.put(SYNCED)
        changes.get(timeout=5)
        assert sorted(cache.unsynced()) == lists[done:]
    for watch in watches:
        watch.put(END)
    cache.stop()


def test_an_unsynced_cache_makes_the_loop_unready() -> None:
    assert Reconciler(Fake().cluster, "default", ["*"]).problems() == [
        "cache not synced: deployments in all namespaces",
        "cache not synced: horizontalpodautoscalers in all namespaces",
    ]


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
