"""Judges by the API server's own log alone: what was written, and whether it was too much."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from benchmarks.clusters import Cluster
from benchmarks.record import Request

HOUR, QUARTER, COOLDOWN = 3600.0, 900.0, 300.0  # seconds
MAX_REPLICAS, MAX_AN_HOUR, MAX_ADDED = 8, 6, 3


@dataclass(frozen=True, slots=True)
class Write:
    """An accepted PATCH; `replicas` of None: a restart."""

    at: float
    workload: str
    replicas: int | None
    action: str


def writes(cluster: Cluster) -> list[Write]:
    """Those that changed something, oldest first."""
    return [_write(one) for one in cluster.writes()]


def excesses(manifests: Iterable[dict[str, Any]], done: Iterable[Write]) -> list[str]:
    """Every limit that was exceeded at any moment; `manifests` say how the workloads began."""
    began = {
        one["metadata"]["name"]: one["spec"].get("replicas", 1) for one in manifests if one["kind"] == "Deployment"
    }
    by_workload: dict[str, list[Write]] = defaultdict(list)
    for write in done:
        by_workload[write.workload].append(write)
    return [fault for name, its in by_workload.items() for fault in _excesses(name, began[name], its)]


def _excesses(name: str, began: int, done: list[Write]) -> list[str]:
    found = []
    scales = [write for write in done if write.replicas is not None]
    for kind, of_kind in (("SCALE", scales), ("RESTART", [write for write in done if write.replicas is None])):
        found += [f"{name}: {kind} while it cooled down" for a, b in pairwise(of_kind) if b.at - a.at < COOLDOWN]
        if any(_within(of_kind, write.at, HOUR) > MAX_AN_HOUR for write in of_kind):
            found.append(f"{name}: more than {MAX_AN_HOUR} {kind} within an hour")
    counts = [began, *(write.replicas for write in scales if write.replicas is not None)]
    added = [(write, max(0, now - then)) for write, (then, now) in zip(scales, pairwise(counts), strict=True)]
    if max(counts) > MAX_REPLICAS:
        found.append(f"{name}: {max(counts)} replicas")
    for write, _ in added:
        if sum(more for other, more in added if write.at - QUARTER < other.at <= write.at) > MAX_ADDED:
            found.append(f"{name}: more than {MAX_ADDED} replicas added within 15 minutes")
    if len({write.action for write in done}) != len(done):
        found.append(f"{name}: one action, several writes")
    return found


def _within(done: Iterable[Write], until: float, seconds: float) -> int:
    return sum(until - seconds < write.at <= until for write in done)


def _write(request: Request) -> Write:
    return Write(request.at, request.name, request.body.get("spec", {}).get("replicas"), request.action)
