"""What the acting half of an action type answers."""

from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject


class ActionHandler(Protocol):
    """Implemented by a module of orchestrator/actions."""

    def plan(self, params: Mapping[str, Any], live: WorkloadObject, action_id: str) -> dict[str, Any]:
        """The absolute change, as JSON: the same again is harmless. Never raises for a valid proposal."""
        ...

    def write(
        self,
        cluster: Cluster,
        key: WorkloadKey,
        change: Mapping[str, Any],
        preconditions: Preconditions,
        action_id: str,
        dry_run: bool,
    ) -> WorkloadObject:
        """Sends one request, once, and returns the object as the API server answered it. Raises ClusterError."""
        ...

    def expected_replicas(self, change: Mapping[str, Any]) -> int | None:
        """The `spec.replicas` that verification expects; None if the change leaves it alone."""
        ...
