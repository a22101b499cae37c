"""RESTART: the pod template is annotated with the action's id; the same id again changes nothing."""

from collections.abc import Mapping
from typing import Any

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject


def plan(params: Mapping[str, Any], live: WorkloadObject, action_id: str) -> dict[str, Any]:
    return {"value": action_id}


def write(
    cluster: Cluster,
    key: WorkloadKey,
    change: Mapping[str, Any],
    preconditions: Preconditions,
    action_id: str,
    dry_run: bool,
) -> WorkloadObject:
    return cluster.restart_workload(
        key, change["value"], preconditions=preconditions, action=action_id, dry_run=dry_run
    )


def expected_replicas(change: Mapping[str, Any]) -> int | None:
    return None
