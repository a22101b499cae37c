"""The cluster cache, as its watches fill it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Any, NoReturn, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrails.types import AutoscalerFacts
from orchestrator.k8s import cache, missing
from orchestrator.k8s.cache import AutoscalerIndex, ClusterCache
from orchestrator.k8s.errors import ClusterError, Forbidden, NotFound, Unknown, Unreached
from orchestrator.k8s.missing import KEPT
from orchestrator.k8s.parse import parse_autoscaler, parse_workload
from orchestrator.k8s.resources import DEPLOYMENTS
from orchestrator.k8s.sync import LEFT_TO_OTHERS, UNTIL_LISTED
from orchestrator.k8s.target import UNMANAGED, TargetState
from orchestrator.k8s.types import Autoscaler, ObjectKey, WatchEvent, WatchEventType, WorkloadKey, WorkloadObject
from signals.types import Kind, Target
from tests.kit.patience import PATIENCE
from tests.kit.simulation import SimulatedClock
from tests.orchestrator.k8s.stub import deployment
from tests.orchestrator.reconciler.fake import END, Fake

ERP, SHOP = WorkloadKey("dev", "erp"), WorkloadKey("dev", "shop")
ERPS = ("dev", Kind.DEPLOYMENT)
CHANGED, DELETED, FAILED = WatchEventType.CHANGED, WatchEventType.DELETED, WatchEventType.FAILED
SYNCED: WatchEvent[Any] = WatchEvent(WatchEventType.SYNCED)
REFUSED: WatchEvent[Any] = WatchEvent(WatchEventType.REFUSED, message="you may not")


def scaled(seconds: float, *namespaces: str) -> dict[tuple[str, Kind], float]:
    """The delays of those kinds that an autoscaler may scale."""
    return {(name, kind): seconds for name in namespaces for kind in (Kind.DEPLOYMENT, Kind.STATEFUL_SET)}


def hpa(name: str = "hpa", scales: WorkloadKey | None = ERP, least: int = 2, most: int = 4) -> Autoscaler:
    return Autoscaler(ObjectKey("dev", name), f"uid-{name}", scales, least, most)


def facts(name: str = "hpa") -> AutoscalerFacts:
    return AutoscalerFacts(name, 2, 4)


def test_an_autoscaler_is_found_by_its_workload_until_it_is_deleted() -> None:
    index = AutoscalerIndex()
    assert index.of(ERP) is None

    index.update(hpa(), deleted=False)
    assert (index.of(ERP), index.of(SHOP)) == (facts(), None)
    index.update(hpa(least=3, most=9), deleted=False)
    assert index.of(ERP) == AutoscalerFacts("hpa", 3, 9)

    index.update(hpa(), deleted=True)
    assert index.of(ERP) is None


def test_an_autoscaler_with_a_new_target_no_longer_scales_the_old_one() -> None:
    index = AutoscalerIndex()
    index.update(hpa(), deleted=False)
    index.update(hpa(scales=SHOP), deleted=False)
    assert (index.of(ERP), index.of(SHOP)) == (None, facts())
    index.update(hpa(scales=None), deleted=False)
    assert index.of(SHOP) is None


def test_the_first_of_several_autoscalers_by_name_is_found() -> None:
    index = AutoscalerIndex()
    for name in ("b", "a"):
        index.update(hpa(name), deleted=False)
    assert index.of(ERP) == facts("a")
    index.update(hpa("a"), deleted=True)
    assert index.of(ERP) == facts("b")


def test_an_unknown_autoscaler_may_be_deleted() -> None:
    index = AutoscalerIndex()
    index.update(hpa(), deleted=True)
    assert index.of(ERP) is None


UPDATES = st.lists(
    st.tuples(st.builds(hpa, st.sampled_from("abc"), st.sampled_from([ERP, SHOP, None])), st.booleans()), max_size=12
)


@given(UPDATES)
def test_the_last_state_of_each_autoscaler_counts(updates: list[tuple[Autoscaler, bool]]) -> None:
    index, last = AutoscalerIndex(), dict[ObjectKey, Autoscaler]()
    for one, deleted in updates:
        index.update(one, deleted=deleted)
        last[one.key] = one
        if deleted:
            del last[one.key]
        for workload in (ERP, SHOP):
            names = [key.name for key, one in last.items() if one.target == workload]
            assert index.of(workload) == (facts(min(names)) if names else None)


def test_an_autoscaler_is_found_while_it_is_replaced() -> None:
    """Its status changes every few seconds: a reader in between must not find the workload without an autoscaler."""
    index, over = AutoscalerIndex(), Event()
    index.update(hpa(), deleted=False)

    def change() -> None:
        while not over.is_set():
            index.update(hpa(), deleted=False)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = Thread(target=change)
    thread.start()
    try:
        missed = sum(index.of(ERP) is None for _ in range(20_000))
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)

    assert missed == 0


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "erp"}, ERP),
        ({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "erp"}, WorkloadKey("dev", "erp", Kind.STATEFUL_SET)),
        ({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "erp"}, None),
        ({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "erp"}, None),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "erp"}, None),
        ({"apiVersion": "example.com/v1", "kind": "Deployment", "name": "erp"}, None),
    ],
)
def test_only_autoscalers_of_workloads_with_replicas_have_a_target(
    reference: dict[str, str], target: WorkloadKey | None
) -> None:
    metadata = {"namespace": "dev", "name": "hpa", "uid": "u", "resourceVersion": "1"}
    found = parse_autoscaler({"metadata": metadata, "spec": {"scaleTargetRef": reference, "maxReplicas": 4}})
    assert (found.target, found.min_replicas, found.max_replicas) == (target, 1, 4)


class World:
    """A cache of the fake cluster; `changes` are the keys that `on_change` was called with."""

    def __init__(self, namespaces: list[str]) -> None:
        self.fake, self.changes = Fake(), Queue[WorkloadKey]()
        self.cache = ClusterCache(self.fake.cluster, namespaces, self.changes.put)
        for namespace in ["" if name == "*" else name for name in namespaces]:
            self.fake.deployments[namespace] = Queue()
            self.fake.autoscalers[namespace] = Queue()

    def deployments(self, *events: WatchEvent[Any], namespace: str = "dev") -> None:
        """Returns when the last of them has been processed."""
        self._send(self.fake.deployments[namespace], events)

    def autoscalers(self, *events: WatchEvent[Autoscaler], namespace: str = "dev") -> None:
        """Returns when the last of them, which must be SYNCED or REFUSED, has been processed."""
        self._send(self.fake.autoscalers[namespace], events)

    def _send(self, queue: "Queue[Any]", events: tuple[WatchEvent[Any], ...]) -> None:
        for event in events:
            queue.put(event)
        while self.changes.get(timeout=PATIENCE).name:  # of a single object
            pass

    def autoscaler(self, name: str = "erp", namespace: str = "dev") -> tuple[AutoscalerFacts | None, str]:
        state = self.cache.observe(Target("default", namespace, name))
        return state.autoscaler, state.autoscalers_unknown


@contextmanager
def watching(*namespaces: str) -> Iterator[World]:
    """With lists of StatefulSets and DaemonSets that have synced."""
    world = World(list(namespaces))
    world.cache.start()
    for kind in (Kind.STATEFUL_SET, Kind.DAEMON_SET):
        for namespace in world.fake.deployments:
            world.fake.workloads[kind].setdefault(namespace, Queue()).put(SYNCED)
            world.changes.get(timeout=PATIENCE)
    try:
        yield world
    finally:
        for queues in (*world.fake.workloads.values(), world.fake.autoscalers):
            for queue in queues.values():
                queue.put(END)
        world.cache.stop()


def test_the_cache_has_synced_after_both_lists_of_every_namespace() -> None:
    with watching("dev", "prod") as world:
        for namespace in ("dev", "prod"):
            world.deployments(SYNCED, namespace=namespace)
        world.autoscalers(SYNCED)
        assert not world.cache.has_synced
        world.autoscalers(SYNCED, namespace="prod")
        assert world.cache.has_synced


def test_a_target_state_has_the_deployment_and_its_autoscaler() -> None:
    with watching("dev") as world:
        erp = parse_workload(deployment("erp"))
        world.deployments(WatchEvent(CHANGED, erp), SYNCED)
        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED)
        assert world.autoscaler() == (facts(), "")
        assert world.cache.observe(Target("default", "dev", "erp")).object == erp

        world.autoscalers(WatchEvent(DELETED, hpa()), SYNCED)
        assert world.autoscaler() == (None, "")


def test_a_refusal_to_list_autoscalers_is_part_of_the_target_state() -> None:
    with watching("dev", "prod") as world:
        world.autoscalers(REFUSED)
        world.autoscalers(SYNCED, namespace="prod")
        for namespace in ("dev", "prod"):
            world.deployments(SYNCED, namespace=namespace)
        assert world.cache.has_synced
        assert world.autoscaler() == (None, "you may not")
        assert world.autoscaler(namespace="prod") == (None, "")

        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED)
        assert world.autoscaler() == (facts(), "")

        world.autoscalers(REFUSED)  # the permission was revoked
        assert world.autoscaler() == (facts(), "you may not")


def test_a_refusal_for_all_namespaces_applies_to_each() -> None:
    with watching("*") as world:
        world.autoscalers(REFUSED, namespace="")
        assert world.autoscaler() == (None, "you may not")
        world.autoscalers(WatchEvent(CHANGED, hpa()), SYNCED, namespace="")
        assert world.autoscaler() == (facts(), "")
        assert world.autoscaler(namespace="prod") == (None, "")


def test_each_namespace_delays_its_own_rows_until_it_has_synced() -> None:
    with watching("dev", "prod") as world:
        assert world.cache.delays() == scaled(UNTIL_LISTED, "dev", "prod")
        for namespace in ("dev", "prod"):
            world.autoscalers(SYNCED, namespace=namespace)
        world.deployments(SYNCED, namespace="prod")
        assert world.cache.delays() == {ERPS: UNTIL_LISTED}

        world.deployments(WatchEvent(FAILED, message="no route to host"))
        assert (world.cache.delays(), world.cache.has_synced) == ({ERPS: LEFT_TO_OTHERS}, False)
        world.deployments(REFUSED)
        assert (world.cache.delays(), world.cache.has_synced) == ({ERPS: LEFT_TO_OTHERS}, True)
        world.deployments(SYNCED)
        assert (world.cache.delays(), world.cache.readable) == ({}, ["dev", "prod"])


def test_an_interruption_after_the_first_list_leaves_the_namespace_readable_and_a_refusal_does_not() -> None:
    with watching("dev") as world:
        erp = parse_workload(deployment("erp"))
        world.deployments(WatchEvent(CHANGED, erp), SYNCED)
        world.deployments(WatchEvent(FAILED, message="no route to host"))
        assert world.cache.is_readable("dev")

        world.deployments(REFUSED)
        assert not world.cache.is_readable("dev")
        state = world.cache.observe(Target("default", "dev", "erp"))
        assert (state.seen, state.object) == (False, None)
        assert state.unreadable == "deployments in namespace dev: you may not"

        world.deployments(SYNCED)
        assert world.cache.observe(Target("default", "dev", "erp")).object == erp


def test_a_refused_list_of_autoscalers_delays_nothing_and_an_interrupted_one_does() -> None:
    with watching("dev") as world:
        world.deployments(SYNCED)
        world.autoscalers(WatchEvent(FAILED, message="Read timed out."))
        assert (world.cache.delays(), world.autoscaler()) == (
            scaled(LEFT_TO_OTHERS, "dev"),
            (None, "Read timed out."),
        )
        world.autoscalers(REFUSED)
        assert world.cache.delays() == {}


def test_a_watch_that_fails_unexpectedly_costs_its_namespace_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cache, "RESTART_AFTER", 0.01)
    with watching("dev", "prod") as world:
        world.deployments(WatchEvent(CHANGED, parse_workload(deployment("erp"))), SYNCED)
        world.deployments(SYNCED, namespace="prod")

        world.fake.deployments["dev"].put("not an event")
        while world.cache.is_readable("dev"):
            world.changes.get(timeout=PATIENCE)
        assert [world.cache.is_readable("dev", kind) for kind in Kind] == [False, True, True]
        assert "AttributeError" in str(world.cache.unsynced()[0])
        assert "the watch of deployments in dev failed" in caplog.messages

        world.deployments(SYNCED)  # erp was deleted in between
        assert (world.cache.is_readable("dev"), world.cache.get(ERP)) == (True, None)


def test_each_kind_syncs_by_itself_and_its_refusal_stops_no_other() -> None:
    world = World(["dev"])
    world.cache.start()
    sets = world.fake.workloads[Kind.STATEFUL_SET].setdefault("dev", Queue())
    daemons = world.fake.workloads[Kind.DAEMON_SET].setdefault("dev", Queue())
    key, database = WorkloadKey("dev", "erp", Kind.STATEFUL_SET), Target("default", "dev", "erp", Kind.STATEFUL_SET)
    found = parse_workload(deployment("erp"), Kind.STATEFUL_SET)
    try:
        world.deployments(SYNCED)
        world.autoscalers(SYNCED)
        world._send(sets, (REFUSED,))
        world._send(daemons, (WatchEvent(FAILED, message="Read timed out."),))
        assert world.cache.delays() == {
            ("dev", Kind.STATEFUL_SET): LEFT_TO_OTHERS,
            ("dev", Kind.DAEMON_SET): LEFT_TO_OTHERS,
        }
        assert not world.cache.observe(Target("default", "dev", "erp")).unreadable
        assert world.cache.observe(database).unreadable == "statefulsets in namespace dev: you may not"

        world._send(sets, (WatchEvent(CHANGED, found), SYNCED))
        assert (world.cache.get(key), world.cache.get(ERP)) == (found, None), "a name is of a kind"
        assert (world.cache.observe(database).object, world.cache.observe(database).unreadable) == (found, "")
        assert world.cache.delays() == {("dev", Kind.DAEMON_SET): LEFT_TO_OTHERS}
    finally:
        for queues in (*world.fake.workloads.values(), world.fake.autoscalers):
            for queue in queues.values():
                queue.put(END)
        world.cache.stop()


@pytest.mark.parametrize(
    ("error", "unreadable"),
    [
        (NotFound('deployments.apps "new" not found'), ""),
        (Forbidden("deployments.apps is forbidden", code=403), "Deployment dev/new: deployments.apps is forbidden"),
        (Unreached("connection refused"), "Deployment dev/new: connection refused"),
        (Unknown("etcdserver: leader changed", code=500), "Deployment dev/new: etcdserver: leader changed"),
    ],
)
def test_a_target_that_is_neither_cached_nor_can_be_read_is_unreadable(error: ClusterError, unreadable: str) -> None:
    def fails(_: WorkloadKey) -> NoReturn:
        raise error

    with watching("dev") as world:
        world.deployments(SYNCED)
        world.autoscalers(SYNCED)
        world.fake.get_workload = fails  # type: ignore[attr-defined]
        state = world.cache.observe_live(Target("default", "dev", "new"))
    assert (state.seen, state.object, state.unreadable) == (not unreadable, None, unreadable)


def test_all_namespaces_are_one_scope() -> None:
    assert ClusterCache(Fake().cluster, ["*", "dev"], print).namespaces == {"*"}


def test_a_target_outside_the_namespaces_is_unmanaged() -> None:
    with watching("dev") as world:
        assert world.cache.observe(Target("default", "prod", "erp")) is UNMANAGED


class LiveReads:
    """A cluster without Deployments that counts the reads of each."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    def get_workload(self, key: WorkloadKey) -> WorkloadObject:
        self.reads.append(key.name)
        raise NotFound(f'deployments.apps "{key.name}" not found', code=404)


class TestAMissingTarget:
    def setup_method(self) -> None:
        self.clock, self.live = SimulatedClock(), LiveReads()
        self.cache = ClusterCache(cast(Any, self.live), ["dev"], lambda _: None, self.clock.monotonic)
        self.cache._report(DEPLOYMENTS, "dev", SYNCED)

    def observe(self, name: str = "nowhere") -> TargetState:
        return self.cache.observe_live(Target("default", "dev", name))

    def test_it_is_read_once_within_some_seconds(self) -> None:
        states = [self.observe() for _ in range(1000)]

        assert self.live.reads == ["nowhere"]
        assert {(state.object, state.missing) for state in states} == {(None, True)}
        assert self.cache.observe(Target("default", "dev", "nowhere")).missing
        self.clock.advance(KEPT)
        assert not self.cache.observe(Target("default", "dev", "nowhere")).missing
        self.observe()
        assert self.live.reads == ["nowhere"] * 2

    def test_others_are_not_missing_with_it(self) -> None:
        self.observe()
        assert not self.cache.observe(Target("default", "dev", "another")).missing

    def test_it_is_there_as_soon_as_the_watch_reports_it(self) -> None:
        self.observe("erp")
        found = parse_workload(deployment("erp"))
        events = [WatchEvent(CHANGED, found), WatchEvent(DELETED, found)]
        self.live.watch_workloads = lambda *_: iter(events[:1])  # type: ignore[attr-defined]
        self.cache._follow_workloads(Kind.DEPLOYMENT, "dev")
        assert (self.observe("erp").object, self.observe("erp").missing) == (found, False)

        self.live.watch_workloads = lambda *_: iter(events[1:])  # type: ignore[attr-defined]
        self.cache._follow_workloads(Kind.DEPLOYMENT, "dev")
        assert not self.cache.observe(Target("default", "dev", "erp")).missing, "it is read again"

    def test_the_names_that_are_kept_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(missing, "MAX_KEPT", 100)
        for number in range(1000):
            self.observe(f"w{number}")
        assert len(self.cache._missing) == 100
        self.clock.advance(KEPT)
        for number in range(101):
            self.observe(f"w{number}")
        assert len(self.cache._missing) == 100
