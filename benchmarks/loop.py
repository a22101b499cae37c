"""How fast a stored signal becomes a change, alone and in a storm."""

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

from benchmarks.figures import Figure, Target, percentile
from benchmarks.seed_design import SeedDesign
from benchmarks.servers import Sandbox, Servers, cpu_seconds, deployment
from guardrails.models import GuardrailSetting
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey
from orchestrator.models import Action, ActionState
from signals.ingest import ingest
from signals.types import Observation, Source
from signals.types import Target as Workload

NAMESPACE = "smartops-dev"
PACE = 0.2  # seconds between two signals of an idle system: each is verified before the next
ALL_VERIFIED_WITHIN = 180.0  # seconds
# By the seconds of a rollout.
TARGETS: dict[int, dict[str, Target | None]] = {
    1: {"written": Target("value", "≤", 3), "verified": Target("value", "≤", 6)},
    5: {"written": None, "verified": Target("ratio", "≥", 300)},
}


def reaction(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    """The time from the return of the commit to the moment at which the API server has read the PATCH."""
    rounds, samples = (2, 3) if quick else (10, 20)
    names = [f"w{number}" for number in range(rounds * samples)]
    _verify_at_once()
    sandbox = servers.sandbox(deployment(name, NAMESPACE, "20ms") for name in [*names, "baseline"])
    servers.reconciler(sandbox)
    cluster, numbers = KubernetesCluster(sandbox.kubeconfig), map(str, count())
    committed: dict[str, float] = {}
    serial: list[float] = []
    for number in range(rounds):
        for name in names[number * samples : (number + 1) * samples]:
            time.sleep(PACE)
            [receipt] = ingest([leak(name)], "a benchmark")
            committed[receipt.signal_id] = time.time()
        time.sleep(PACE)
        for _ in range(samples):
            started = time.perf_counter()
            cluster.patch_deployment(WorkloadKey(NAMESPACE, "baseline"), {"metadata": {"labels": {"n": next(numbers)}}})
            serial.append(time.perf_counter() - started)
    actions = _verified(len(names))
    written = _writes(sandbox)
    delays = [written[str(action.pk)] - committed[str(action.signal_id)] for action in actions]
    for share, limit in ((0.5, 25.0), (0.99, 100.0)):
        value, baseline = 1000 * percentile(delays, share), 1000 * percentile(serial, share)
        what, against = f"signal committed → PATCH received, p{100 * share:.0f}", "serial PATCH, with its answer"
        yield Figure(what, value, "ms", against, baseline, value / baseline, Target("value", "≤", limit))


def storm(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    """Many signals at once, each of another Deployment."""
    size, few = (6, 1) if quick else (300, 6)
    fleets = {
        seconds: ([f"w{seconds}-{n}" for n in range(size)], [f"seed{seconds}-{n}" for n in range(few)])
        for seconds in ((1,) if quick else (1, 5))
    }
    _verify_at_once()
    sandbox = servers.sandbox(
        deployment(name, NAMESPACE, f"{seconds}s") for seconds, both in fleets.items() for name in both[0] + both[1]
    )
    cluster = KubernetesCluster(sandbox.kubeconfig)
    while any(one.available_replicas < one.replicas for one in cluster.list_deployments(NAMESPACE)):
        time.sleep(0.5)
    reconciler = servers.reconciler(sandbox)
    for seconds, (names, seeds) in fleets.items():
        yield from _storm(sandbox, cluster, reconciler, seconds, names, seeds)


def _storm(
    sandbox: Sandbox, cluster: KubernetesCluster, reconciler: int, seconds: int, names: list[str], seeds: list[str]
) -> Iterator[Figure]:
    what, before = f"{len(names)} signals, rollouts of {seconds} s", Action.objects.count()
    began = time.time()
    asyncio.run(SeedDesign(cluster).drain(WorkloadKey(NAMESPACE, name) for name in seeds))
    took = time.time() - began
    seed_calls, seed_time = len(sandbox.requests(began)) / len(seeds), took / len(seeds) * len(names)

    began, cpu = time.time(), cpu_seconds(reconciler)
    ingest([leak(name) for name in names], "a benchmark")
    committed = time.time()
    actions = _verified(before + len(names))[before:]
    cpu = cpu_seconds(reconciler) - cpu
    written = _writes(sandbox)
    calls = [one for one in sandbox.requests(began) if one["method"] != "WATCH"]
    last_write = max(written[str(action.pk)] for action in actions) - committed
    last_verified = max(action.finished_at.timestamp() for action in actions if action.finished_at) - committed

    against = f"the seed's design, from {len(seeds)}"
    in_time, per_action = TARGETS[seconds], len(calls) / len(actions)
    yield Figure(f"{what}: last written", last_write, "s", target=in_time["written"])
    faster = seed_time / last_verified
    yield Figure(f"{what}: last verified", last_verified, "s", against, seed_time, faster, in_time["verified"])
    fewer, few = per_action / seed_calls, Target("value", "≤", 3)
    yield Figure(f"{what}: API calls for each", per_action, "", against, seed_calls, fewer, few)
    yield Figure(f"{what}: the reconciler's CPU for each", 1000 * cpu / len(actions), "ms")


def leak(name: str) -> Observation:
    """It leads to a restart."""
    target = Workload("default", NAMESPACE, name)
    return Observation(Source.RCA, target, "memory_leak", uuid4().hex, True, {}, probability=0.93, confidence=0.93)


def _verify_at_once() -> None:
    """The baseline takes a rollout for verified as soon as it is complete; so do we here."""
    GuardrailSetting.objects.create(stabilization_seconds=0)


def _verified(number: int) -> list[Action]:
    """All actions, oldest first, when so many have succeeded."""
    deadline = time.monotonic() + ALL_VERIFIED_WITHIN
    while (done := Action.objects.filter(state=ActionState.SUCCEEDED).count()) < number:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{done} of {number} actions were verified within {ALL_VERIFIED_WITHIN:.0f} s")
        time.sleep(0.1)
    return list(Action.objects.order_by("pk"))


def _writes(sandbox: Sandbox) -> dict[str, float]:
    """When each action's PATCH arrived. An action that was written twice is an error, and no figure."""
    accepted = [one for one in sandbox.requests() if one["method"] == "PATCH" and one["status"] == 200]
    written: dict[str, float] = {}
    for one in accepted:
        action = _annotations(json.loads(one["body"])).get(ACTION_ANNOTATION)
        if action in written:
            raise RuntimeError(f"action {action} was written twice")
        if action:
            written[action] = one["time"]
    return written


def _annotations(patch: dict[str, Any]) -> dict[str, str]:
    return dict(patch["metadata"].get("annotations", {}))
