"""Many signals at once, each of another Deployment."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.clusters import NAMESPACE, Cluster, Json, deployment
from benchmarks.figures import Figure, Target
from benchmarks.floor import await_rollouts, floor
from benchmarks.loop import leak, pressure, verified, verify_at_once, written_at
from benchmarks.processes import cpu_seconds
from benchmarks.seed_design import SeedDesign, restart
from benchmarks.servers import Servers
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action
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
    would last a day."""

    size: int
    few: int
    seconds: int
    change: Change
    written: Target | None = None
    verified: Target | None = None

    @property
    def names(self) -> list[str]:
        return [f"w{self.seconds}-{number}" for number in range(self.size)]

    @property
    def seeds(self) -> list[str]:
        return [f"seed{self.seconds}-{number}" for number in range(self.few)]

    def __str__(self) -> str:
        return f"{self.size:,} {self.change.name}, rollouts of {self.seconds} s"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds that were used so far."""

    reconciler: float
    database: float
    cluster: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.reconciler - other.reconciler, self.database - other.database, self.cluster - other.cluster)


RESTART = Change("restarts", leak, restart)
SCALE = Change("scale-ups", pressure, lambda: {"spec": {"replicas": 2}})
QUICK = [Storm(6, 1, 1, RESTART), Storm(6, 1, 1, SCALE)]
STORMS = [
    Storm(200, 6, 1, RESTART, Target("value", "≤", 3), Target("value", "≤", 6)),
    Storm(1000, 6, 5, RESTART, verified=Target("ratio", "≥", 300)),
    Storm(1000, 6, 5, SCALE, verified=Target("ratio", "≥", 300)),
]


def storm(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    storms = QUICK if quick else STORMS
    verify_at_once()
    fleet = {name: one.seconds for one in storms for name in one.names + one.seeds}
    cluster = servers.cluster(deployment(name, NAMESPACE, f"{seconds}s") for name, seconds in fleet.items())
    await_rollouts(cluster, dict.fromkeys(fleet, 1))
    reconciler = servers.reconciler(cluster)

    def cost() -> Cost:
        return Cost(cpu_seconds(reconciler), servers.database_cpu_seconds(), cluster.cpu_seconds())

    for one in storms:
        yield from _storm(cluster, one, cost)
    began, seconds = time.time(), 1.0 if quick else AT_REST_FOR
    time.sleep(seconds)
    calls = len(cluster.requests(began))
    yield Figure(f"API calls within {seconds:.0f} s of rest", calls, "", target=Target("value", "≤", 0))


def _storm(cluster: Cluster, storm: Storm, cost: Callable[[], Cost]) -> Iterator[Figure]:
    cluster.rest()
    began = time.time()
    seed = SeedDesign(KubernetesCluster(cluster.kubeconfig), storm.change.patch)
    asyncio.run(seed.drain(WorkloadKey(NAMESPACE, name) for name in storm.seeds))
    seed_time = (time.time() - began) / storm.few * storm.size
    seed_calls = len(cluster.requests(began)) / storm.few
    cluster.rest()
    least = floor(cluster, storm.names, storm.change.patch)
    cluster.rest()

    before, began, spent = Action.objects.count(), time.time(), cost()
    ingest([storm.change.observe(name) for name in storm.names], "a benchmark")
    committed = time.time()
    actions = verified(before + storm.size)[before:]
    spent = cost() - spent
    cluster.rest()
    calls, written = cluster.requests(began), written_at(cluster)
    last_written = max(written[str(action.pk)] for action in actions) - committed
    last_verified = max(action.finished_at.timestamp() for action in actions if action.finished_at) - committed

    raw, of_seed = "raw PATCHes", f"the seed's design, from {storm.few}"
    yield Figure(
        f"{storm}: last written", last_written, "s", raw, least.written, last_written / least.written, storm.written
    )
    yield Figure(
        f"{storm}: last verified", last_verified, "s", of_seed, seed_time, seed_time / last_verified, storm.verified
    )
    yield Figure(
        f"{storm}: raw PATCHes, all rolled out", least.rolled_out, "s", of_seed, seed_time, seed_time / least.rolled_out
    )
    per_action = len(calls) / storm.size
    yield Figure(
        f"{storm}: API calls for each",
        per_action,
        "",
        of_seed,
        seed_calls,
        per_action / seed_calls,
        Target("value", "≤", 3),
    )
    each, least_each = 1000 * spent.cluster / storm.size, 1000 * least.cpu / storm.size
    yield Figure(f"{storm}: CPU of the reconciler for each", 1000 * spent.reconciler / storm.size, "ms")
    yield Figure(f"{storm}: CPU of PostgreSQL for each", 1000 * spent.database / storm.size, "ms")
    yield Figure(f"{storm}: CPU of the cluster for each", each, "ms", raw, least_each, each / least_each)
