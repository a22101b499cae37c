"""SCALE: the change is an absolute number of replicas, so that a repeated copy changes nothing."""

from collections.abc import Iterable
from typing import Any

from guardrails.checks.limits import desired_replicas
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import Deployment, Preconditions, WorkloadKey
from signals.types import Proposal


def fields(proposal: Proposal) -> Iterable[str]:  # noqa: ARG001
    return ("spec.replicas",)


def plan(proposal: Proposal, live: Deployment, action: str) -> dict[str, Any]:  # noqa: ARG001
    return {"replicas": desired_replicas(proposal, live.replicas)}


def apply(
    cluster: Cluster, key: WorkloadKey, change: dict[str, Any], guard: Preconditions, action: str, dry_run: bool
) -> Deployment:
    return cluster.scale_deployment(key, change["replicas"], preconditions=guard, action=action, dry_run=dry_run)
