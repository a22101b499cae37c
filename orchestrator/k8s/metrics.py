"""The calls to the Kubernetes API, and the replicas of the watched workloads. Only the two replica gauges name their
target in labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from operator import attrgetter
from time import perf_counter

from prometheus_client import REGISTRY, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.types import WorkloadKey, WorkloadObject
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
SCALE = initialized(Counter("smartops_k8s_scale", "Workloads scaled", ["result"]), RESULTS)
RESTART = initialized(Counter("smartops_k8s_restart", "Workloads restarted", ["result"]), RESULTS)
PATCH = initialized(Counter("smartops_k8s_patch", "Workloads patched", ["result"]), RESULTS)

EVENTS_DROPPED = Counter(
    "smartops_k8s_events_dropped",
    "Kubernetes Events that were not created: the API server refused them, or was unavailable for too long",
)

TARGET = ("namespace", "deployment", "kind")  # "deployment" is the name of a workload of any kind
_watched: dict[WorkloadKey, WorkloadObject] = {}


class ReplicaGauge(Collector):
    """A sample for each watched workload, made at each scrape. The children of a Gauge would be set at each event,
    and take 7 MB for 5,000 Deployments."""

    def __init__(self, name: str, documentation: str, value: Callable[[WorkloadObject], int]) -> None:
        self.name = name
        self._documentation = documentation
        self._value = value
        REGISTRY.register(self)

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(self.name, self._documentation, labels=TARGET)]

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self.name, self._documentation, labels=TARGET)
        for workload in list(_watched.values()):  # a copy: watches go on to change it
            key = workload.key
            family.add_metric((key.namespace, key.name, key.kind), self._value(workload))
        yield family


DESIRED_REPLICAS = ReplicaGauge(
    "smartops_k8s_deployment_desired_replicas", "Desired replicas of a watched workload", attrgetter("replicas")
)
READY_REPLICAS = ReplicaGauge(
    "smartops_k8s_deployment_ready_replicas",
    "Ready replicas of a watched workload",
    attrgetter("ready_replicas"),
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


def record(workload: WorkloadObject) -> None:
    _watched[workload.key] = workload


def forget(key: WorkloadKey) -> None:
    _watched.pop(key, None)
