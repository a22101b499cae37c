"""What a process knows of its cluster, as its watches tell it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.types import AutoscalerFacts
from orchestrator.k8s.cache import AutoscalerIndex, ClusterCache
from orchestrator.k8s.parse import parse_autoscaler, parse_deployment
from orchestrator.k8s.target import UNMANAGED
from orchestrator.k8s.types import Autoscaler, WatchEvent, WatchEventType, WorkloadKey
from signals.types import Target
from tests.orchestrator.k8s.stub import deployment
from tests.orchestrator.reconciler.fake import END, Fake

ERP, SHOP = WorkloadKey("dev", "erp"), WorkloadKey("dev", "shop")
CHANGED, DELETED = WatchEventType.CHANGED, WatchEventType.DELETED
SYNCED: WatchEvent[Any] = WatchEvent(WatchEventType.SYNCED)
REFUSED: WatchEvent[Autoscaler] = WatchEvent(WatchEventType.REFUSED, message="you may not")


def hpa(name: str = "hpa", scales: WorkloadKey | None = ERP, least: int = 2, most: int = 4) -> Autoscaler:
    return Autoscaler(WorkloadKey("dev", name), f"uid-{name}", scales, least, most)


def facts(name: str = "hpa") -> AutoscalerFacts:
    return AutoscalerFacts(name, 2, 4)


def test_a_workload_is_scaled_by_what_names_it_until_that_is_gone() -> None:
    scaled = AutoscalerIndex()
    assert scaled.by(ERP) is None

    scaled.see(hpa(), gone=False)
    assert (scaled.by(ERP), scaled.by(SHOP)) == (facts(), None)
    scaled.see(hpa(least=3, most=9), gone=False)
    assert scaled.by(ERP) == AutoscalerFacts("hpa", 3, 9)

    scaled.see(hpa(), gone=True)
    assert scaled.by(ERP) is None


def test_an_autoscaler_that_turns_to_another_workload_frees_the_first() -> None:
    scaled = AutoscalerIndex()
    scaled.see(hpa(), gone=False)
    scaled.see(hpa(scales=SHOP), gone=False)
    assert (scaled.by(ERP), scaled.by(SHOP)) == (None, facts())
    scaled.see(hpa(scales=None), gone=False)
    assert scaled.by(SHOP) is None


def test_of_several_autoscalers_the_first_by_name_is_told_and_each_counts() -> None:
    scaled = AutoscalerIndex()
    for name in ("b", "a"):
        scaled.see(hpa(name), gone=False)
    assert scaled.by(ERP) == facts("a")
    scaled.see(hpa("a"), gone=True)
    assert scaled.by(ERP) == facts("b")


def test_what_was_never_seen_may_be_gone() -> None:
    scaled = AutoscalerIndex()
    scaled.see(hpa(), gone=True)
    assert scaled.by(ERP) is None


SIGHTINGS = st.lists(
    st.tuples(st.builds(hpa, st.sampled_from("abc"), st.sampled_from([ERP, SHOP, None])), st.booleans()), max_size=12
)


@given(SIGHTINGS)
def test_what_was_seen_last_of_each_counts(sightings: list[tuple[Autoscaler, bool]]) -> None:
    scaled, last = AutoscalerIndex(), dict[WorkloadKey, Autoscaler]()
    for one, gone in sightings:
        scaled.see(one, gone=gone)
        last[one.key] = one
        if gone:
            del last[one.key]
        for workload in (ERP, SHOP):
            names = [key.name for key, seen in last.items() if seen.target == workload]
            assert scaled.by(workload) == (facts(min(names)) if names else None)


def test_while_an_autoscaler_changes_it_is_never_out_of_sight() -> None:
    """Its status moves every few seconds: a look in between must not find the workload free."""
    scaled, over = AutoscalerIndex(), Event()
    scaled.see(hpa(), gone=False)

    def change() -> None:
        while not over.is_set():
            scaled.see(hpa(), gone=False)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = Thread(target=change)
    thread.start()
    try:
        missed = sum(scaled.by(ERP) is None for _ in range(20_000))
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)

    assert missed == 0


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "erp"}, ERP),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "erp"}, None),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "erp"}, None),
        ({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "erp"}, None),
    ],
)
def test_only_what_scales_a_deployment_concerns_us(reference: dict[str, str], target: WorkloadKey | None) -> None:
    metadata = {"namespace": "dev", "name": "hpa", "uid": "u", "resourceVersion": "1"}
    found = parse_autoscaler({"metadata": metadata, "spec": {"scaleTargetRef": reference, "maxReplicas": 4}})
    assert (found.target, found.min_replicas, found.max_replicas) == (target, 1, 4)


class Watching:
    """A view of the fake cluster; `told` are the changes that it told of."""

    def __init__(self, namespaces: list[str]) -> None:
        self.fake, self.told = Fake(), Queue[WorkloadKey]()
        self.view = ClusterCache(self.fake.cluster, namespaces, self.told.put)
        for namespace in ["" if name == "*" else name for name in namespaces]:
            self.fake.deployments[namespace] = Queue()
            self.fake.autoscalers[namespace] = Queue()

    def deployments(self, *events: WatchEvent[Any], namespace: str = "dev") -> None:
        """Until the last of them was seen."""
        self._bring(self.fake.deployments[namespace], events)

    def autoscalers(self, *events: WatchEvent[Autoscaler], namespace: str = "dev") -> None:
        """Until the last of them was seen, which must be SYNCED or REFUSED."""
        self._bring(self.fake.autoscalers[namespace], events)

    def _bring(self, queue: "Queue[Any]", events: tuple[WatchEvent[Any], ...]) -> None:
        for event in events:
            queue.put(event)
        self.told.get(timeout=5)

    def sees(self, name: str = "erp", namespace: str = "dev") -> tuple[AutoscalerFacts | None, str]:
        look = self.view.observe(Target("default", namespace, name))
        return look.autoscaler, look.autoscalers_unknown


@contextmanager
def watching(*namespaces: str) -> Iterator[Watching]:
    world = Watching(list(namespaces))
    world.view.start()
    try:
        yield world
    finally:
        for queue in (*world.fake.deployments.values(), *world.fake.autoscalers.values()):
            queue.put(END)
        world.view.stop()


def test_nothing_is_known_before_deployments_and_autoscalers_were_listed_everywhere() -> None:
    with watching("dev", "prod") as world:
        for namespace in ("dev", "prod"):
            world.deployments(SYNCED, namespace=namespace)
        world.autoscalers(SYNCED)
        assert not world.view.has_synced
        world.autoscalers(SYNCED, namespace="prod")
        assert world.view.has_synced


def test_an_autoscaler_is_seen_beside_the_workload_that_it_scales_until_it_is_deleted() -> None:
    with watching("dev") as world:
        seen = parse_deployment(deployment("erp"))
        world.deployments(WatchEvent(CHANGED, seen))
        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED)
        assert world.sees() == (facts(), "")
        assert world.view.observe(Target("default", "dev", "erp")).deployment == seen

        world.autoscalers(WatchEvent(DELETED, hpa()), SYNCED)
        assert world.sees() == (None, "")


def test_where_autoscalers_may_not_be_seen_that_is_known_and_why() -> None:
    with watching("dev", "prod") as world:
        world.autoscalers(REFUSED)
        world.autoscalers(SYNCED, namespace="prod")
        for namespace in ("dev", "prod"):
            world.deployments(SYNCED, namespace=namespace)
        assert world.view.has_synced
        assert world.sees() == (None, "you may not")
        assert world.sees(namespace="prod") == (None, "")

        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED)
        assert world.sees() == (facts(), "")

        world.autoscalers(REFUSED)  # the right was taken away again
        assert world.sees() == (facts(), "you may not")


def test_a_view_of_all_namespaces_has_one_answer_for_all() -> None:
    with watching("*") as world:
        world.autoscalers(REFUSED, namespace="")
        assert world.sees() == (None, "you may not")
        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED, namespace="")
        assert world.sees() == (facts(), "")
        assert world.sees(namespace="prod") == (None, "")


def test_what_is_not_managed_is_not_looked_at() -> None:
    with watching("dev") as world:
        assert world.view.observe(Target("default", "prod", "erp")) is UNMANAGED
