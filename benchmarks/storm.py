"""Many signals at once, each of another Deployment."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.clusters import NAMESPACE, Cluster, deployment
from benchmarks.figures import Figure, Target
from benchmarks.floor import Floor, await_rollouts, floor
from benchmarks.loop import leak, pressure, published, verified, verify_at_once, written_at
from benchmarks.processes import cpu_seconds
from benchmarks.record import Json
from benchmarks.seed_design import SeedDesign, restart
from benchmarks.servers import Servers
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action
from signals import actors
from signals.ingest import ingest
from signals.types import Observation

AT_REST_FOR = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Change:
    """What the signals lead to, and the same as a plain patch."""

    name: str
    observe: Callable[[str], Observation]
    patch: Callable[[], Json]


@dataclass(frozen=True, slots=True)
class Storm:
    """`seconds` that a rollout takes; `few` of them are given to the seed's design, in whose time a storm of so many
    would last a day. `efficiency`: the time of plain PATCHes as a share of ours. `reconciler`, `database`: CPU."""

    size: int
    few: int
    seconds: int
    change: Change
    written: Target | None = None
    verified: Target | None = None
    efficiency: Target | None = None
    reconciler: Target | None = None
    database: Target | None = None

    @property
    def names(self) -> list[str]:
        return [f"w{self.seconds}-{number}" for number in range(self.size)]

    @property
    def seeds(self) -> list[str]:
        return [f"seed{self.seconds}-{number}" for number in range(self.few)]

    def __str__(self) -> str:
        return f"{self.size:,} {self.change.name}, rollouts of {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the commit of the signals; calls and CPU (milliseconds) for each of them."""

    last_written: float
    last_verified: float
    calls: float
    reconciler: float
    database: float
    cluster: float


RESTART = Change("restarts", leak, restart)
SCALE = Change("scale-ups", pressure, lambda: {"spec": {"replicas": 2}})
QUICK = [Storm(6, 1, 1, RESTART), Storm(6, 1, 1, SCALE)]
LARGE = (None, None, Target("ratio", "≥", 0.85), Target("value", "≤", 6), Target("value", "≤", 2.5))
STORMS = [
    Storm(200, 6, 1, RESTART, written=Target("value", "≤", 2.5), verified=Target("value", "≤", 6)),
    Storm(1000, 6, 5, RESTART, *LARGE),
    Storm(1000, 6, 5, SCALE, *LARGE),
]


def storm(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    storms = QUICK if quick else STORMS
    verify_at_once()
    fleet = {name: one.seconds for one in storms for name in one.names + one.seeds}
    cluster = servers.cluster(deployment(name, NAMESPACE, f"{seconds}s") for name, seconds in fleet.items())
    await_rollouts(cluster, dict.fromkeys(fleet, 1))
    for one in storms:
        cluster.rest()
        seed_time, seed_calls = _seed(cluster, one)
        cluster.rest()
        least = floor(cluster, one.names, one.change.patch)
        cluster.rest()
        reconciler = servers.reconciler(cluster)
        ours = _ours(servers, cluster, reconciler, one)
        yield from _against_seed(one, ours, least, seed_time, seed_calls)
        yield from _costs(one, ours, least)
        if one is not storms[-1]:
            servers.stop(reconciler)
    began, seconds = time.time(), 1.0 if quick else AT_REST_FOR
    time.sleep(seconds)
    calls = len(cluster.requests(began))
    yield Figure(f"API calls within {seconds:.0f} s of rest", calls, "", target=Target("value", "≤", 0))


def _seed(cluster: Cluster, storm: Storm) -> tuple[float, float]:
    """Seconds for all of the storm, as it does one after the other; API calls for each."""
    began = time.time()
    seed = SeedDesign(KubernetesCluster(cluster.kubeconfig), storm.change.patch)
    asyncio.run(seed.drain(WorkloadKey(NAMESPACE, name) for name in storm.seeds))
    took = time.time() - began
    return took / storm.few * storm.size, len(cluster.requests(began)) / storm.few


def _ours(servers: Servers, cluster: Cluster, reconciler: int, storm: Storm) -> Outcome:
    def cpu() -> tuple[float, float, float]:
        return cpu_seconds(reconciler), servers.database_cpu_seconds(), cluster.cpu_seconds()

    before, began, used = Action.objects.count(), time.time(), cpu()
    ingest([storm.change.observe(name) for name in storm.names], actors.token("benchmark"))
    committed = time.time()
    actions = verified(before + storm.size, pause=0.5)[before:]
    published()
    spent = [1000 * (now - then) / storm.size for now, then in zip(cpu(), used, strict=True)]
    cluster.rest()
    written = written_at(cluster)
    return Outcome(
        max(written[str(action.pk)] for action in actions) - committed,
        max(action.finished_at.timestamp() for action in actions if action.finished_at) - committed,
        len(cluster.requests(began)) / storm.size,
        *spent,
    )


def _against_seed(storm: Storm, ours: Outcome, least: Floor, seed_time: float, seed_calls: float) -> Iterator[Figure]:
    def against(what: str, value: float, target: Target | None = None) -> Figure:
        ratio = seed_time / value
        return Figure(f"{storm}: {what}", value, "s", f"the seed's design, from {storm.few}", seed_time, ratio, target)

    fewer, few = ours.calls / seed_calls, Target("value", "≤", 3)
    yield against("last verified", ours.last_verified, storm.verified)
    yield against("plain PATCHes alone, last rolled out", least.rolled_out)
    yield Figure(f"{storm}: API calls for each", ours.calls, "", "the seed's design", seed_calls, fewer, few)


def _costs(storm: Storm, ours: Outcome, least: Floor) -> Iterator[Figure]:
    plain, slower = "plain PATCHes", ours.last_written / least.written
    share, cluster = least.rolled_out / ours.last_verified, 1000 * least.cpu / storm.size
    yield Figure(f"{storm}: last verified", ours.last_verified, "s", plain, least.rolled_out, share, storm.efficiency)
    yield Figure(f"{storm}: last written", ours.last_written, "s", plain, least.written, slower, storm.written)
    yield Figure(f"{storm}: CPU of the reconciler for each", ours.reconciler, "ms", target=storm.reconciler)
    yield Figure(f"{storm}: CPU of PostgreSQL for each", ours.database, "ms", target=storm.database)
    yield Figure(f"{storm}: CPU of the cluster for each", ours.cluster, "ms", plain, cluster, ours.cluster / cluster)
