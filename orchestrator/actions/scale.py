"""SCALE: the change is an absolute number of replicas."""

from collections.abc import Mapping
from typing import Any

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject
from signals.proposals import scale


def plan(params: Mapping[str, Any], live: WorkloadObject, action_id: str) -> dict[str, Any]:
    return {"replicas": scale.replicas(params, live.replicas)}


def write(
    cluster: Cluster,
    key: WorkloadKey,
    change: Mapping[str, Any],
    preconditions: Preconditions,
    action_id: str,
    dry_run: bool,
) -> WorkloadObject:
    return cluster.scale_workload(
        key, change["replicas"], preconditions=preconditions, action=action_id, dry_run=dry_run
    )


def expected_replicas(change: Mapping[str, Any]) -> int | None:
    return int(change["replicas"])
