"""The real cluster, through its HTTP API."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

from prometheus_client import Counter

from orchestrator.k8s import metrics
from orchestrator.k8s.collection import Collection
from orchestrator.k8s.connection import Connection
from orchestrator.k8s.errors import NotFound, TimedOut
from orchestrator.k8s.events import KubernetesEvent, event_of
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.parse import (
    parse_autoscaler,
    parse_controlled,
    parse_controller,
    parse_object,
    parse_pod,
    parse_service_selector,
    parse_workload,
)
from orchestrator.k8s.permissions import parse_review
from orchestrator.k8s.resources import (
    ACCESS_REVIEWS,
    AUTOSCALERS,
    CONTROLLED,
    EVENTS,
    PODS,
    SERVICES,
    WORKLOADS,
    Resource,
)
from orchestrator.k8s.rollout import Progressing, rollout
from orchestrator.k8s.types import (
    ACTION_ANNOTATION,
    FIELD_MANAGER,
    Autoscaler,
    Pod,
    Preconditions,
    W,
    WatchEvent,
    WatchEventType,
    WorkloadKey,
    WorkloadObject,
)
from signals.proposals.restart import RESTART_ANNOTATION
from signals.types import Kind, Link

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
SERVER_TIMEOUT = "8s"  # of a write: then the API server gives it up, and still answers within our own timeout


class KubernetesCluster:
    """A Cluster. Safe for use by `connections` threads at once.

    A call ends after `timeout` seconds, a page of a list after three times as long. A watch that receives nothing for
    `idle` seconds (the API server sends a bookmark about every minute) counts as half-open and is opened again.
    Unreached if there is no configuration."""

    def __init__(
        self,
        kubeconfig: str | Path | None = None,
        *,
        timeout: float = 10.0,
        idle: float = 75.0,
        connections: int = 16,
    ) -> None:
        self._connection = Connection(kubeconfig, timeout=timeout, connections=connections)
        self._idle = idle

    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]:
        pages = self._connection.pages(PODS, parse_pod, namespace, {"labelSelector": selector})
        return [pod for page in pages for pod in page.items]

    def delete_pod(self, namespace: str, name: str, *, uid: str) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        }
        self._connection.call(
            "create", PODS, parse_object, namespace=namespace, name=name, subresource="eviction", body=eviction
        )

    def get_controller(self, kind: str, namespace: str, name: str) -> Link | None:
        return self._connection.call("get", CONTROLLED[kind], parse_controller, namespace=namespace, name=name)

    def list_controllers(self, namespace: str, selector: str) -> list[tuple[Link, Link | None]]:
        pages = self._connection.pages(PODS, parse_controlled, namespace, {"labelSelector": selector})
        return next(pages).items

    def get_service_selector(self, namespace: str, name: str) -> str:
        return self._connection.call("get", SERVICES, parse_service_selector, namespace=namespace, name=name)

    def list_workloads(self, kind: Kind, namespace: str) -> list[WorkloadObject]:
        pages = self._workloads(kind, namespace).pages()
        return [workload for page in pages for workload in page.items]

    def get_workload(self, key: WorkloadKey) -> WorkloadObject:
        parse = partial(parse_workload, kind=key.kind)
        return self._connection.call("get", WORKLOADS[key.kind], parse, namespace=key.namespace, name=key.name)

    def scale_workload(
        self,
        key: WorkloadKey,
        replicas: int,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        patch = {"spec": {"replicas": replicas}}
        return self._patch(metrics.SCALE, key, patch, preconditions, action, dry_run)

    def restart_workload(
        self,
        key: WorkloadKey,
        value: str,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        patch = {"spec": {"template": {"metadata": {"annotations": {RESTART_ANNOTATION: value}}}}}
        return self._patch(metrics.RESTART, key, patch, preconditions, action, dry_run)

    def patch_workload(
        self,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> WorkloadObject:
        return self._patch(metrics.PATCH, key, patch, preconditions, action, dry_run)

    def wait_for_rollout(self, key: WorkloadKey, timeout: float) -> WorkloadObject:
        workload = self.get_workload(key)  # fails at once for what a watch would retry: 403, 404
        over = Interruption()
        timer = Timer(timeout, over.set)
        timer.daemon = True
        timer.start()
        try:
            selector = {"fieldSelector": f"metadata.name={key.name}"}
            with closing(self._watch(key.kind, key.namespace, over, **selector)) as events:
                listed = False
                while isinstance(progress := rollout(workload), Progressing):
                    event = next(events, None)
                    if event is None:
                        raise TimedOut(f"{key}: {progress.message}")
                    if event.type is WatchEventType.CHANGED and event.object is not None:
                        workload, listed = event.object, True
                    elif event.type is WatchEventType.DELETED or (event.type is WatchEventType.SYNCED and not listed):
                        raise NotFound(f"{key} was deleted", code=404)
        finally:
            timer.cancel()
        return workload

    def watch_workloads(self, kind: Kind, namespace: str, stop: Interruption) -> Generator[WatchEvent[WorkloadObject]]:
        return self._watch(kind, namespace, stop)

    def watch_autoscalers(self, namespace: str, stop: Interruption) -> Generator[WatchEvent[Autoscaler]]:
        return self._collection(AUTOSCALERS, parse_autoscaler, namespace).watch(stop, self._idle)

    def create_event(self, note: KubernetesEvent, at: datetime) -> None:
        self._connection.call(
            "create",
            EVENTS,
            parse_object,
            namespace=note.key.namespace,
            query={"fieldManager": FIELD_MANAGER},
            body=event_of(note, at),
        )

    def can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        name, _, subresource = resource.partition("/")
        attributes = {
            "verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return self._connection.call("create", ACCESS_REVIEWS, parse_review, body=review)

    def _watch(
        self, kind: Kind, namespace: str, stop: Interruption, **selectors: str
    ) -> Generator[WatchEvent[WorkloadObject]]:
        for event in self._workloads(kind, namespace).watch(stop, self._idle, **selectors):
            if event.object is not None:
                if event.type is WatchEventType.DELETED:
                    metrics.forget(event.object.key)
                else:
                    metrics.record(event.object)
            yield event

    def _workloads(self, kind: Kind, namespace: str) -> Collection[WorkloadObject]:
        return self._collection(WORKLOADS[kind], partial(parse_workload, kind=kind), namespace)

    def _collection(self, resource: Resource, parse: Callable[[Any], W], namespace: str) -> Collection[W]:
        return Collection(self._connection, resource, parse, namespace or None)

    def _patch(
        self,
        counter: Counter,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        preconditions: Preconditions | None,
        action: str,
        dry_run: bool,
    ) -> WorkloadObject:
        # With Strict, a field that does not exist is an error instead of being dropped.
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "timeout": SERVER_TIMEOUT}
        if dry_run:
            query["dryRun"] = "All"
        with metrics.write(counter, dry_run=dry_run):
            return self._connection.call(
                "patch",
                WORKLOADS[key.kind],
                partial(parse_workload, kind=key.kind),
                namespace=key.namespace,
                name=key.name,
                query=query,
                body=_with_metadata(patch, preconditions, action),
                content_type=STRATEGIC_MERGE_PATCH,
            )


def _with_metadata(patch: Mapping[str, Any], preconditions: Preconditions | None, action: str) -> dict[str, Any]:
    metadata = dict(patch.get("metadata") or {})
    if preconditions is not None:
        metadata |= {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
    if action:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ACTION_ANNOTATION: action}
    return {**patch, "metadata": metadata}
