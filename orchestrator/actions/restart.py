"""RESTART: the pod template is marked with the action's id; the same mark again is a no-op."""

from collections.abc import Iterable
from typing import Any

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import RESTART_ANNOTATION, Deployment, Preconditions, WorkloadKey
from signals.types import Proposal


def fields(proposal: Proposal) -> Iterable[str]:  # noqa: ARG001
    return (f'spec.template.metadata.annotations["{RESTART_ANNOTATION}"]',)


def plan(proposal: Proposal, live: Deployment, action: str) -> dict[str, Any]:  # noqa: ARG001
    return {"value": action}


def apply(
    cluster: Cluster, key: WorkloadKey, change: dict[str, Any], guard: Preconditions, action: str, dry_run: bool
) -> Deployment:
    return cluster.restart_deployment(key, change["value"], preconditions=guard, action=action, dry_run=dry_run)
