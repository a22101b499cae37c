"""The interface to a cluster. client.py implements it over HTTP; tests may implement their own."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from orchestrator.k8s.events import KubernetesEvent
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.types import Autoscaler, Pod, Preconditions, WatchEvent, WorkloadKey, WorkloadObject
from signals.types import Kind, Link


class Cluster(Protocol):
    """Every call has a timeout and is tried once. It raises the ClusterErrors of errors.py and no other errors."""

    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]: ...

    def delete_pod(self, namespace: str, name: str, *, uid: str) -> None:
        """Evicts the pod if it still has the uid. DisruptionBudget if a PodDisruptionBudget does not allow it now."""

    def get_controller(self, kind: str, namespace: str, name: str) -> Link | None:
        """The owner that manages the Pod or ReplicaSet; None if none does. NotFound if there is no such object."""

    def list_controllers(self, namespace: str, selector: str) -> list[tuple[Link, Link | None]]:
        """Pods, each with its controller: the first page of the list, as the pods of a Service have few controllers."""

    def get_service_selector(self, namespace: str, name: str) -> str:
        """Of the pods of a Service, as a list request takes it; "" if it selects none. NotFound without a Service."""

    def list_workloads(self, kind: Kind, namespace: str) -> list[WorkloadObject]:
        """Of the namespace; "" is all namespaces."""

    def get_workload(self, key: WorkloadKey) -> WorkloadObject:
        """A live read."""

    def scale_workload(
        self,
        key: WorkloadKey,
        replicas: int,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        """Of a kind that has `spec.replicas`. `action` (an id) is written to the annotation `smartops.io/action` in the
        same request, here and below: it shows later that this change was applied."""

    def restart_workload(
        self,
        key: WorkloadKey,
        value: str,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        """Rolls all pods by writing `value` to the pod template's annotation `smartops.io/restart`; the same value
        again is a no-op."""

    def patch_workload(
        self,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        """A strategic merge patch of the workload."""

    def wait_for_rollout(self, key: WorkloadKey, timeout: float) -> WorkloadObject:
        """Watches until the rollout is complete or has failed (`rollout` of the result says which). TimedOut after
        `timeout` seconds, NotFound if the workload is deleted."""

    def watch_workloads(self, kind: Kind, namespace: str, stop: Interruption) -> Iterator[WatchEvent[WorkloadObject]]:
        """All workloads of the kind in the namespace ("" for all), SYNCED, then every change until `stop` is set.
        Reconnects and lists again by itself. After another list, an object that is gone is reported DELETED, followed
        by SYNCED."""

    def watch_autoscalers(self, namespace: str, stop: Interruption) -> Iterator[WatchEvent[Autoscaler]]:
        """All HorizontalPodAutoscalers, in the same way."""

    def create_event(self, note: KubernetesEvent, at: datetime) -> None:
        """Creates the Event, with `at` as its time. Conflict if it exists: it was published before."""

    def can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Whether RBAC allows it. `group` is "" for the core group; `resource` may have a /subresource; `namespace` is
        "" for all namespaces."""
