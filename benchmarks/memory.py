"""The memory of a reconciler that watches a large cluster."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.clusters import NAMESPACE, deployment
from benchmarks.figures import Figure, Target
from benchmarks.processes import resident_megabytes
from benchmarks.servers import Servers

SETTLES_IN = 3.0  # seconds


def memory(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    size = 50 if quick else 5000
    cluster = servers.cluster(deployment(f"w{number}", NAMESPACE, "1s", replicas=0) for number in range(size))
    cluster.rest()
    reconciler = servers.reconciler(cluster)
    time.sleep(SETTLES_IN)
    value = resident_megabytes(reconciler)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        baseline = pool.submit(typed_models, cluster.kubeconfig).result()
    what, against = f"the reconciler, watching {size:,} Deployments", "the Kubernetes library's list of them"
    yield Figure(what, value, "MB", against, baseline, value / baseline, Target("value", "≤", 150))


def typed_models(kubeconfig: Path) -> float:
    """Resident megabytes of a process that has only listed all Deployments, as the Kubernetes library's models."""
    from kubernetes import client, config

    config.load_kube_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    listed = client.AppsV1Api().list_deployment_for_all_namespaces()
    assert listed.items
    return resident_megabytes(os.getpid())
