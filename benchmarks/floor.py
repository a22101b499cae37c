"""What a cluster takes for changes that nobody decides upon, records or verifies: a loop of no cost."""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from threading import Timer

from benchmarks.clusters import NAMESPACE, THREADS, Cluster
from benchmarks.http import Connection, drive
from benchmarks.record import Json
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.rollout import Complete, rollout
from signals.types import Kind

ROLLED_OUT_WITHIN = 300.0  # seconds
STRATEGIC_MERGE = {"Content-Type": "application/strategic-merge-patch+json"}


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds: until all was written, until all was rolled out, and of the cluster's CPU."""

    written: float
    rolled_out: float
    cpu: float


def floor(cluster: Cluster, names: Iterable[str], patch: Callable[[], Json]) -> Floor:
    """One plain PATCH for each Deployment, through `THREADS` threads."""
    generations: dict[str, int] = {}

    def write(connection: Connection, name: str) -> None:
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"
        answer = connection.send("PATCH", path, json.dumps(patch()).encode(), STRATEGIC_MERGE)
        generations[name] = json.loads(answer)["metadata"]["generation"]

    began, cpu = time.monotonic(), cluster.cpu_seconds()
    written = drive([cluster.connect() for _ in range(THREADS)], list(names), write)
    await_rollouts(cluster, generations)
    return Floor(written, time.monotonic() - began, cluster.cpu_seconds() - cpu)


def await_rollouts(cluster: Cluster, generations: dict[str, int]) -> None:
    """Until each Deployment has rolled out that generation, as one watch shows it."""
    left, over = set(generations), Interruption()
    timer = Timer(ROLLED_OUT_WITHIN, over.set)
    timer.start()
    try:
        with closing(KubernetesCluster(cluster.kubeconfig).watch_workloads(Kind.DEPLOYMENT, NAMESPACE, over)) as events:
            for event in events:
                deployment = event.object
                if deployment is None or (name := deployment.key.name) not in left:
                    continue
                if deployment.generation >= generations[name] and isinstance(rollout(deployment), Complete):
                    left.remove(name)
                if not left:
                    return
    finally:
        timer.cancel()
    raise RuntimeError(f"{len(left)} of {len(generations)} rollouts were not complete within {ROLLED_OUT_WITHIN:.0f} s")
