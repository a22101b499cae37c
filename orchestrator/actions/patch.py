"""PATCH: a strategic merge patch, written as it was asked for."""

from collections.abc import Iterable
from typing import Any

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.fields import touched
from orchestrator.k8s.types import Deployment, Preconditions, WorkloadKey
from signals.proposals.allowlist import forbidden
from signals.types import Proposal


class PatchForbidden(Exception):  # noqa: N818 - it is a refusal
    """The patch touches what no action may change; the message names the path."""


def fields(proposal: Proposal) -> Iterable[str]:
    return touched(proposal.params["patch"])


def plan(proposal: Proposal, live: Deployment, action: str) -> dict[str, Any]:  # noqa: ARG001
    """Raises PatchForbidden: a rule's patch has come by no API that would have refused it."""
    if refusal := forbidden(proposal.params["patch"]):
        raise PatchForbidden("{}: {}".format(*refusal))
    return {"patch": proposal.params["patch"]}


def apply(
    cluster: Cluster, key: WorkloadKey, change: dict[str, Any], guard: Preconditions, action: str, dry_run: bool
) -> Deployment:
    return cluster.patch_deployment(key, change["patch"], preconditions=guard, action=action, dry_run=dry_run)
