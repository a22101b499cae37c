"""What is left of accepted signals when every process that knows of them is killed."""

import json
import sys
import time
from collections.abc import Iterator
from subprocess import PIPE
from typing import Any

from benchmarks.clusters import NAMESPACE, Cluster, deployment
from benchmarks.figures import Figure, Target
from benchmarks.floor import await_rollouts
from benchmarks.http import rate
from benchmarks.ingest import token
from benchmarks.loop import verified, verify_at_once
from benchmarks.servers import Servers

RECONCILERS = 2
STUCK_AFTER = 120.0  # seconds without the writes that we wait for
FIRST = 1  # generation of a new Deployment
NOTHING_FOR = 5.0  # seconds: as long as two rounds of the seed's design


def kill(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    """Signals that were answered with 202; all processes are killed when some of them were written, and start again;
    then twice more. The seed's design is killed once, when as many were written as at the first time."""
    size, moments = (12, [3]) if quick else (100, [10, 40, 70])
    names, seeds = [f"w{number}" for number in range(size)], [f"seed{number}" for number in range(size)]
    verify_at_once()
    cluster = servers.cluster(deployment(name, NAMESPACE, "1s") for name in names + seeds)
    await_rollouts(cluster, dict.fromkeys(names + seeds, 1))
    cluster.rest()

    _seed(servers, cluster, seeds, moments[0])
    began, killed = _loop(servers, cluster, names, moments)
    actions = verified(size)
    last_verified = max(action.finished_at.timestamp() for action in actions if action.finished_at)

    # The log says 504 of a write whose author died while it was under way, done or not. The object knows.
    restarts = {name: generation - FIRST for name, generation in cluster.generations().items()}
    times = "once" if len(moments) == 1 else f"{len(moments)} times"
    what, against = f"{size} signals accepted, everything killed {times}", "the seed's design, killed once"
    lost, lost_by_seed = (sum(restarts[name] == 0 for name in group) for group in (names, seeds))
    doubled, doubled_by_seed = (sum(restarts[name] > 1 for name in group) for group in (names, seeds))
    none = Target("value", "≤", 0)
    yield Figure(f"{what}: never done", lost, "", against, lost_by_seed, target=none)
    yield Figure(f"{what}: done twice", doubled, "", against, doubled_by_seed, target=none)
    yield Figure(f"{what}: all verified", last_verified - began, "s")
    yield Figure(f"{what}: all verified, after the last kill", last_verified - killed, "s")


def _loop(servers: Servers, cluster: Cluster, names: list[str], moments: list[int]) -> tuple[float, float]:
    """When the signals were accepted, and when everything was killed for the last time."""
    web, reconcilers = servers.web(), [servers.reconciler(cluster) for _ in range(RECONCILERS)]
    before = len(cluster.writes())
    rate(web.address, "/v1/signals/rca", [json.dumps(cause(name)).encode() for name in names], token("kill"))
    accepted = killed = time.time()
    for moment in moments:
        _await_writes(cluster, before + moment)
        servers.kill(web.pid, *reconcilers)
        killed = time.time()
        web, reconcilers = servers.web(), [servers.reconciler(cluster) for _ in range(RECONCILERS)]
    return accepted, killed


def _seed(servers: Servers, cluster: Cluster, names: list[str], moment: int) -> None:
    command = (sys.executable, "-m", "benchmarks.seed_design", str(cluster.kubeconfig))
    process = servers.start("seed design", *command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    before = len(cluster.writes())
    process.stdin.write("".join(f"{name}\n" for name in names).encode())
    process.stdin.flush()
    for name in names:
        assert process.stdout.readline().decode().strip() == name
    _await_writes(cluster, before + moment)
    servers.kill(process.pid)
    servers.start("seed design", *command, stdin=PIPE)
    time.sleep(NOTHING_FOR)


def _await_writes(cluster: Cluster, number: int) -> None:
    deadline = time.monotonic() + STUCK_AFTER
    while (done := len(cluster.writes())) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{done} of {number} writes within {STUCK_AFTER:.0f} s")
        time.sleep(0.02)


def cause(name: str) -> dict[str, Any]:
    """As an engine for root causes posts it."""
    ranked = [{"svc": name, "cause": "memory_leak", "probability": 0.93}]
    return {"windowId": f"win-{name}", "namespace": NAMESPACE, "rankedCauses": ranked, "confidence": 0.93}
