"""How fast a stored signal becomes a change, with nothing else to do."""

import time
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

from django.db.models import Max

from benchmarks.clusters import NAMESPACE, Cluster, deployment
from benchmarks.figures import Figure, Target, percentile
from benchmarks.servers import Servers
from guardrails.models import GuardrailSetting
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, AuditEvent, PublisherCursor
from signals import actors
from signals.ingest import ingest
from signals.types import Observation, Source
from signals.types import Target as Workload

PACE = 0.2  # seconds of rest before a signal: the one before it is verified by then
ALL_VERIFIED_WITHIN = 300.0  # seconds


def reaction(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    """The time from the return of the commit to the moment at which the API server has the PATCH."""
    rounds, samples = (2, 3) if quick else (10, 20)
    names = [f"w{number}" for number in range(rounds * samples)]
    verify_at_once()
    cluster = servers.cluster(deployment(name, NAMESPACE, "20ms") for name in [*names, "baseline"])
    servers.reconciler(cluster)
    cluster.rest()
    client, numbers = KubernetesCluster(cluster.kubeconfig), map(str, count())
    committed: dict[str, float] = {}
    serial: list[float] = []
    for number, name in enumerate(names, start=1):
        time.sleep(PACE)
        [receipt] = ingest([leak(name)], actors.token("benchmark"))
        committed[receipt.signal_id] = time.time()
        verified(number)
        if number % samples:
            continue
        for _ in range(samples):
            started = time.perf_counter()
            client.patch_workload(WorkloadKey(NAMESPACE, "baseline"), {"metadata": {"labels": {"n": next(numbers)}}})
            serial.append(time.perf_counter() - started)
    written = written_at(cluster)
    delays = [written[str(action.pk)] - committed[str(action.signal_id)] for action in verified(len(names))]
    for share, limit in ((0.5, 10.0), (0.99, 30.0)):
        value, baseline = 1000 * percentile(delays, share), 1000 * percentile(serial, share)
        what, against = f"signal committed → PATCH received, p{100 * share:.0f}", "serial PATCH, with its answer"
        yield Figure(what, value, "ms", against, baseline, value / baseline, Target("value", "≤", limit))


def leak(name: str) -> Observation:
    """It leads to a restart."""
    target = Workload("default", NAMESPACE, name)
    return Observation(Source.RCA, target, "memory_leak", uuid4().hex, True, {}, probability=0.93, confidence=0.93)


def pressure(name: str) -> Observation:
    """It leads to one replica more."""
    return Observation(
        Source.ANOMALY, Workload("default", NAMESPACE, name), "resource", uuid4().hex, True, {}, score=0.95
    )


def verify_at_once() -> None:
    """The baseline takes a rollout for verified as soon as it is complete; so do we here. The plain PATCHes before are
    changes of the pod template by another party, and are not waited for."""
    GuardrailSetting.objects.create(stabilization_seconds=0, rollout_settle_seconds=0)


def verified(number: int, pause: float = 0.1) -> list[Action]:
    """All actions, oldest first, when so many have succeeded. `pause`: seconds between two queries, which cost
    the database something, too."""
    deadline = time.monotonic() + ALL_VERIFIED_WITHIN
    while (done := Action.objects.filter(state=ActionState.SUCCEEDED).count()) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{done} of {number} actions were verified within {ALL_VERIFIED_WITHIN:.0f} s")
        time.sleep(pause)
    return list(Action.objects.order_by("pk"))


def published() -> None:
    """Returns when the Kubernetes Events of everything recorded so far have been sent: they are paced."""
    last = AuditEvent.objects.aggregate(xid=Max("xid"))["xid"] or 0
    deadline = time.monotonic() + ALL_VERIFIED_WITHIN
    while PublisherCursor.objects.filter(xid__lt=last).exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Kubernetes Events were not sent within {ALL_VERIFIED_WITHIN:.0f} s")
        time.sleep(0.1)


def written_at(cluster: Cluster) -> dict[str, float]:
    """When each action's PATCH arrived. An action that was written twice is an error, and no figure."""
    written: dict[str, float] = {}
    for write in cluster.writes():
        if write.action in written:
            raise RuntimeError(f"action {write.action} was written twice")
        if write.action:
            written[write.action] = write.at
    return written
