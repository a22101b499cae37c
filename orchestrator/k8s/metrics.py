"""The calls to the Kubernetes API, and the replicas of the watched Deployments. Only the two replica gauges name their
target in labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram

from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.types import Deployment, WorkloadKey
from signals.lib import tracing
from signals.lib.metrics import initialized

# The client library appends _total to the names of counters.
API_CALLS = Counter("smartops_k8s_api_calls", "Calls to the Kubernetes API", ["verb", "resource"])
API_ERRORS = Counter(
    "smartops_k8s_api_errors",
    "Failed calls to the Kubernetes API; code is the HTTP status, or the class of the error without an answer",
    ["verb", "resource", "code"],
)
API_LATENCY = Histogram(
    "smartops_k8s_api_latency_seconds",
    "Duration of calls to the Kubernetes API; of a watch, until it is open",
    ["verb", "resource"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# Dry runs change nothing and are not counted.
RESULTS = ("success", "refused", "unknown", "unreached")
SCALE = initialized(Counter("smartops_k8s_scale", "Deployments scaled", ["result"]), RESULTS)
RESTART = initialized(Counter("smartops_k8s_restart", "Deployments restarted", ["result"]), RESULTS)
PATCH = initialized(Counter("smartops_k8s_patch", "Deployments patched", ["result"]), RESULTS)

EVENTS_DROPPED = Counter(
    "smartops_k8s_events_dropped",
    "Kubernetes Events that were not created: the API server refused them, or was unavailable for too long",
)

DESIRED_REPLICAS = Gauge(
    "smartops_k8s_deployment_desired_replicas", "spec.replicas of a watched Deployment", ["namespace", "deployment"]
)
READY_REPLICAS = Gauge(
    "smartops_k8s_deployment_ready_replicas",
    "status.readyReplicas of a watched Deployment",
    ["namespace", "deployment"],
)


@contextmanager
def api_call(verb: str, resource: str) -> Iterator[None]:
    calls, latency = _of_call(verb, resource)
    start = perf_counter()
    try:
        yield
    except ClusterError as error:
        API_ERRORS.labels(verb, resource, error.code or type(error).__name__).inc()
        raise
    finally:
        calls.inc()
        latency.observe(perf_counter() - start, tracing.exemplar())


@cache
def _of_call(verb: str, resource: str) -> tuple[Counter, Histogram]:
    """The two series of each call: to find them again costs 4 µs."""
    return API_CALLS.labels(verb, resource), API_LATENCY.labels(verb, resource)


@contextmanager
def write(counter: Counter, *, dry_run: bool) -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        if not dry_run:
            counter.labels(error.outcome).inc()
        raise
    if not dry_run:
        counter.labels("success").inc()


def record(deployment: Deployment) -> None:
    key = deployment.key
    DESIRED_REPLICAS.labels(key.namespace, key.name).set(deployment.replicas)
    READY_REPLICAS.labels(key.namespace, key.name).set(deployment.ready_replicas)


def forget(key: WorkloadKey) -> None:
    DESIRED_REPLICAS.remove(key.namespace, key.name)
    READY_REPLICAS.remove(key.namespace, key.name)
