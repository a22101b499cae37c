"""The real cluster, through the official client library."""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Event, Timer
from typing import Any

from kubernetes.client import (
    V1DeleteOptions,
    V1Eviction,
    V1ObjectMeta,
    V1Preconditions,
    V1ResourceAttributes,
    V1SelfSubjectAccessReview,
    V1SelfSubjectAccessReviewSpec,
)
from prometheus_client import Counter

from orchestrator.k8s import metrics
from orchestrator.k8s.collection import Collection
from orchestrator.k8s.connection import Connection, Request
from orchestrator.k8s.errors import Invalid, NotFound, TimedOut
from orchestrator.k8s.events import KubernetesEvent, event_of
from orchestrator.k8s.parse import parse_autoscaler, parse_deployment, parse_object, parse_pod
from orchestrator.k8s.permissions import parse_review
from orchestrator.k8s.rollout import Progressing, rollout
from orchestrator.k8s.types import (
    ACTION_ANNOTATION,
    FIELD_MANAGER,
    Autoscaler,
    Deployment,
    Pod,
    Preconditions,
    W,
    WatchEvent,
    WatchEventType,
    WorkloadKey,
)
from signals.proposals.restart import RESTART_ANNOTATION

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class KubernetesCluster:
    """A Cluster. Safe for use by `connections` threads at once.

    A call ends after `timeout` seconds. A watch without a byte for `idle` seconds (the API server sends a bookmark
    about every minute) is taken for half-open and opened again. Unreached if no configuration can be found."""

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
        request = self._connection.core.list_namespaced_pod
        place = {"namespace": _path_segment(namespace)}
        pages = self._connection.pages("pods", request, parse_pod, **place, label_selector=selector)
        return [pod for page in pages for pod in page.items]

    def delete_pod(self, namespace: str, name: str, *, uid: str) -> None:
        self._connection.call(
            "create",
            "pods/eviction",
            self._connection.core.create_namespaced_pod_eviction,
            parse_object,
            name=_path_segment(name),
            namespace=_path_segment(namespace),
            body=V1Eviction(
                api_version="policy/v1",
                kind="Eviction",
                metadata=V1ObjectMeta(name=name, namespace=namespace),
                delete_options=V1DeleteOptions(preconditions=V1Preconditions(uid=uid)),
            ),
        )

    def list_deployments(self, namespace: str) -> list[Deployment]:
        return [deployment for page in self._deployments(namespace).pages() for deployment in page.items]

    def get_deployment_status(self, key: WorkloadKey) -> Deployment:
        request = self._connection.apps.read_namespaced_deployment
        return self._connection.call("get", "deployments", request, parse_deployment, **_path(key))

    def scale_deployment(
        self,
        key: WorkloadKey,
        replicas: int,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        patch = {"spec": {"replicas": replicas}}
        return self._patch(metrics.SCALE, key, patch, preconditions, action, dry_run)

    def restart_deployment(
        self,
        key: WorkloadKey,
        value: str,
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        patch = {"spec": {"template": {"metadata": {"annotations": {RESTART_ANNOTATION: value}}}}}
        return self._patch(metrics.RESTART, key, patch, preconditions, action, dry_run)

    def patch_deployment(
        self,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        *,
        preconditions: Preconditions | None = None,
        action: str = "",
        dry_run: bool = False,
    ) -> Deployment:
        return self._patch(metrics.PATCH, key, patch, preconditions, action, dry_run)

    def wait_for_deployment_rollout(self, key: WorkloadKey, timeout: float) -> Deployment:
        deployment = self.get_deployment_status(key)  # says at once what a watch would try again and again: 403, 404
        over = Event()
        timer = Timer(timeout, over.set)
        timer.daemon = True
        timer.start()
        try:
            one = {"field_selector": f"metadata.name={key.name}"}
            with closing(self._watch_deployments(key.namespace, over, **one)) as events:
                listed = False
                while isinstance(progress := rollout(deployment), Progressing):
                    event = next(events, None)
                    if event is None:
                        raise TimedOut(f"{key}: {progress.message}")
                    if event.type is WatchEventType.CHANGED and event.object is not None:
                        deployment, listed = event.object, True
                    elif event.type is WatchEventType.DELETED or not listed:
                        raise NotFound(f"{key} was deleted", code=404)
        finally:
            timer.cancel()
        return deployment

    def watch_deployments(self, namespace: str, stop: Event) -> Generator[WatchEvent[Deployment]]:
        return self._watch_deployments(namespace, stop)

    def watch_autoscalers(self, namespace: str, stop: Event) -> Generator[WatchEvent[Autoscaler]]:
        return self._autoscalers(namespace).watch(stop, self._idle)

    def create_event(self, note: KubernetesEvent, at: datetime) -> None:
        self._connection.call(
            "create",
            "events",
            self._connection.core.create_namespaced_event,
            parse_object,
            namespace=_path_segment(note.key.namespace),
            body=event_of(note, at),
            field_manager=FIELD_MANAGER,
        )

    def can_i(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        resource, _, subresource = resource.partition("/")
        attributes = V1ResourceAttributes(
            verb=verb, group=group, resource=resource, subresource=subresource, namespace=namespace
        )
        return self._connection.call(
            "create",
            "selfsubjectaccessreviews",
            self._connection.authorization.create_self_subject_access_review,
            parse_review,
            body=V1SelfSubjectAccessReview(spec=V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)),
        )

    def _watch_deployments(self, namespace: str, stop: Event, **selectors: str) -> Generator[WatchEvent[Deployment]]:
        for event in self._deployments(namespace).watch(stop, self._idle, **selectors):
            if event.object is not None:
                if event.type is WatchEventType.DELETED:
                    metrics.forget(event.object.key)
                else:
                    metrics.record(event.object)
            yield event

    def _deployments(self, namespace: str) -> Collection[Deployment]:
        api = self._connection.apps
        if not namespace:
            return self._collection("deployments", parse_deployment, api.list_deployment_for_all_namespaces)
        return self._collection("deployments", parse_deployment, api.list_namespaced_deployment, namespace)

    def _autoscalers(self, namespace: str) -> Collection[Autoscaler]:
        api, resource = self._connection.autoscaling, "horizontalpodautoscalers"
        if not namespace:
            return self._collection(resource, parse_autoscaler, api.list_horizontal_pod_autoscaler_for_all_namespaces)
        return self._collection(resource, parse_autoscaler, api.list_namespaced_horizontal_pod_autoscaler, namespace)

    def _collection(
        self, resource: str, parse: Callable[[Any], W], request: Request, namespace: str = ""
    ) -> Collection[W]:
        place = {"namespace": _path_segment(namespace)} if namespace else {}
        return Collection(self._connection, resource, request, parse, place)

    def _patch(
        self,
        counter: Counter,
        key: WorkloadKey,
        patch: Mapping[str, Any],
        preconditions: Preconditions | None,
        action: str,
        dry_run: bool,
    ) -> Deployment:
        with metrics.write(counter, dry_run=dry_run):
            return self._connection.call(
                "patch",
                "deployments",
                self._connection.apps.patch_namespaced_deployment,
                parse_deployment,
                **_path(key),
                body=_with_metadata(patch, preconditions, action),
                field_manager=FIELD_MANAGER,
                field_validation="Strict",  # a field that does not exist is an error, not silence
                dry_run="All" if dry_run else None,
                _content_type="application/strategic-merge-patch+json",
            )


def _with_metadata(patch: Mapping[str, Any], preconditions: Preconditions | None, action: str) -> dict[str, Any]:
    metadata = dict(patch.get("metadata") or {})
    if preconditions is not None:
        metadata |= {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
    if action:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ACTION_ANNOTATION: action}
    return {**patch, "metadata": metadata}


def _path(key: WorkloadKey) -> dict[str, str]:
    return {"name": _path_segment(key.name), "namespace": _path_segment(key.namespace)}


def _path_segment(name: str) -> str:
    """An empty name or one of dots would address the collection instead: DELETE .../pods/ deletes them all."""
    if not OBJECT_NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot be the name of an object", reason="InvalidName")
    return name
