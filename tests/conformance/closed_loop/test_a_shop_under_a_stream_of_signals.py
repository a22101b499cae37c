"""Twelve services that four detectors report without pause, and two reconcilers: every limit is used up, and kept."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest
from django.db.models import QuerySet

from orchestrator.models import ACTIVE, Action, AuditEvent
from signals.models import Signal, SignalState
from tests.conformance.closed_loop.referee import writes
from tests.conformance.control_plane import ControlPlane
from tests.conformance.loop import Judge, Loop
from tests.conformance.release import fresh_namespace
from tests.kit.client import Client
from tests.kit.installation import Agent
from tests.kit.manifests import deployment
from tests.kit.processes import until

pytestmark = pytest.mark.usefixtures("simulated_kubelet")
# Those of Online Boutique. One says how many replicas it has; the others leave it to the API server.
SERVICES = (
    *("adservice", "cartservice", "checkoutservice", "currencyservice", "emailservice", "frontend"),
    *("loadgenerator", "paymentservice", "productcatalogservice", "recommendationservice", "redis-cart"),
    "shippingservice",
)
LIMITS = {"cooldown": 1, "an_hour": 3, "added_in_a_quarter": 2}
EACH = {"SCALE": 2, "RESTART": 3}  # what the limits leave room for
PUT_OFF = ["RateLimit", "ScaleVelocityLimit"]  # for minutes: beyond the test


@pytest.fixture(scope="module")
def namespaces(control_plane: ControlPlane) -> Iterator[str]:
    """SmartOps manages the shop's namespace alone."""
    with fresh_namespace(control_plane, "boutique") as name:
        yield name


@pytest.fixture
def shop(agent: Agent, namespaces: str) -> Loop:
    return Loop(agent, namespaces)


@pytest.fixture
def replicas(control_plane: ControlPlane, namespaces: str) -> Iterator[Callable[[], dict[str, int]]]:
    """Of each service of the shop, as they are now."""
    with closing(Client(control_plane.kubeconfig, namespaces)) as http:
        for name in SERVICES:
            manifest = deployment(name)
            if name != "loadgenerator":
                del manifest["spec"]["replicas"]
            http.create("deployments", manifest)
        yield lambda: {one["metadata"]["name"]: one["spec"]["replicas"] for one in http.get("deployments")["items"]}


def test_every_signal_is_settled_within_the_limits(
    shop: Loop, replicas: Callable[[], dict[str, int]], control_plane: ControlPlane
) -> None:
    judge, over = Judge(control_plane, shop.namespace), Event()
    shop.limit(**LIMITS)

    def detect(report: Callable[[str, str], str], trouble: str) -> int:
        """Goes round all services until the test is over; how often."""
        rounds = 0
        while not over.is_set():
            for name in SERVICES:
                report(name, trouble)
                over.wait(0.03)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as detectors:
        watching = [detectors.submit(detect, shop.anomaly, trouble) for trouble in ("resource", "latency", "error")]
        watching.append(detectors.submit(detect, shop.root_cause, "memory_leak"))
        try:
            until(lambda: Action.objects.filter(state="succeeded").count() >= len(SERVICES) * sum(EACH.values()))
        finally:
            over.set()
    until(lambda: not _undecided().exists())

    assert all(detector.result() > 1 for detector in watching)
    assert not Action.objects.filter(state__in=ACTIVE).exists()
    assert Counter(judge.changes()) == {(kind, name): times for kind, times in EACH.items() for name in SERVICES}
    assert judge.violations(shop.claims(), shop.limits) == []
    assert replicas() == dict.fromkeys(SERVICES, 3)
    reconcilers = AuditEvent.objects.filter(actor__startswith="reconciler").values("actor").distinct()
    assert reconcilers.count() == 2


def test_a_namespace_outside_of_the_shop_is_not_touched(
    agent: Agent, namespace: str, judge: Judge, http: Client
) -> None:
    outside = Loop(agent, namespace)
    http.create("deployments", deployment("frontend"))
    http.rolled_out("frontend")

    signal = outside.decided(outside.anomaly("frontend"))
    status, problem = outside.ask("restart", "frontend")

    assert (signal["state"], signal["reason"]) == ("denied", "NamespaceNotManaged")
    assert (status, problem["reason"]) == (409, "NamespaceNotManaged")
    assert writes(judge.events()) == []


def _undecided() -> QuerySet[Signal]:
    return Signal.objects.filter(state=SignalState.PENDING).exclude(reason__in=PUT_OFF)
