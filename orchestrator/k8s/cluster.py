"""The one door to a cluster. `client.py` opens it for real; tests may bring their own."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from threading import Event
from typing import Any, Protocol

from orchestrator.k8s.events import KubernetesEvent
from orchestrator.k8s.types import Autoscaler, Deployment, Pod, Preconditions, WatchEvent, WorkloadKey


class Cluster(Protocol):
    """Every call has a timeout and is tried once; failures are the ClusterErrors of `errors.py`, nothing else."""

    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]: ...

    def delete_pod(self, namespace: str, name: str, *, uid: str) -> None:
        """Evicts the pod, only while it is still the object `uid`: DisruptionBudget where a PodDisruptionBudget does
        not allow it now."""

    def list_deployments(self, namespace: str) -> list[Deployment]:
        """Those of the namespace; of all namespaces if it is ""."""

    def get_deployment_status(self, key: WorkloadKey) -> Deployment:
        """The Deployment as it is now, read from the API server."""

    def scale_deployment(
        self,
        key: WorkloadKey,
        replicas: int,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        """`action` (an id) is written to the annotation `smartops.io/action` in the same request, here and below: it
        is how we recognise later that our change landed."""

    def restart_deployment(
        self,
        key: WorkloadKey,
        value: str,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        """Rolls all pods by writing `value` to the pod template's annotation `smartops.io/restart`; the same value
        again is a no-op."""

    def patch_deployment(
        self,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        """A strategic merge patch of the Deployment."""

    def wait_for_deployment_rollout(self, key: WorkloadKey, timeout: float) -> Deployment:
        """Follows a watch until the rollout has ended, one way or the other (`judge.rollout` of the answer says which);
        TimedOut after `timeout` seconds, NotFound once the Deployment is deleted."""

    def watch_deployments(self, namespace: str, stop: Event) -> Iterator[WatchEvent[Deployment]]:
        """All Deployments of the namespace ("" for all) now, SYNCED, then every change until `stop` is set. Reconnects
        and re-lists by itself; after a re-list, what vanished meanwhile is reported DELETED, then SYNCED again."""

    def watch_autoscalers(self, namespace: str, stop: Event) -> Iterator[WatchEvent[Autoscaler]]:
        """All HorizontalPodAutoscalers, likewise."""

    def create_event(self, note: KubernetesEvent, at: datetime) -> None:
        """Tells it on the object, as of `at`. Conflict where the same was told before."""

    def can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Whether we may: `group` is "" for the core group, `resource` may have a /subresource, and a `namespace` of
        "" means all of them."""
