"""Why a control loop is not ready, in the words of /readyz."""

import pytest

from orchestrator.k8s.types import WatchEvent, WatchEventType
from orchestrator.reconciler.loop import Reconciler
from tests.orchestrator.reconciler.fake import END, Fake
from tests.processes import until

SYNCED: WatchEvent[object] = WatchEvent(WatchEventType.SYNCED)


def test_each_list_that_the_cache_waits_for_is_named() -> None:
    fake = Fake()
    reconciler = Reconciler(fake.cluster, "default", ["dev", "shop"])
    reconciler.view.start()
    lists = [
        f"cache not synced: {resource} in namespace {namespace}"
        for resource in ("deployments", "horizontalpodautoscalers")
        for namespace in ("dev", "shop")
    ]
    assert sorted(reconciler.problems()) == lists

    until(lambda: "dev" in fake.deployments and "shop" in fake.autoscalers)
    fake.deployments["dev"].put(SYNCED)
    until(lambda: sorted(reconciler.problems()) == lists[1:])

    for queue in (*fake.deployments.values(), *fake.autoscalers.values()):
        queue.put(SYNCED)
        queue.put(END)
    until(lambda: reconciler.problems() == [])
    reconciler.view.stop()


def test_a_cache_of_all_namespaces_says_so() -> None:
    reconciler = Reconciler(Fake().cluster, "default", ["*"])
    assert "cache not synced: deployments in all namespaces" in reconciler.problems()


def test_a_loop_without_a_pass_is_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = Reconciler(Fake().cluster, "default", [])
    assert reconciler.alive
    later(monkeypatch, 42)

    assert not reconciler.alive
    assert reconciler.problems() == ["control loop stalled: no pass for 42 s"]


def test_a_loop_whose_passes_fail_is_alive_and_blames_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = Reconciler(Fake().cluster, "default", [])
    reconciler._passed_at -= 42

    assert reconciler.alive
    [line] = reconciler.problems()
    assert line == "database unavailable: no pass of the control loop has succeeded for 42 s"


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Moves the monotonic clock of the loop on."""
    from orchestrator.reconciler import loop

    now = loop.time.monotonic() + seconds

    class Time:
        monotonic = staticmethod(lambda: now)

    monkeypatch.setattr(loop, "time", Time)
