"""The real cluster, through the official client library."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from random import uniform
from threading import Event, Timer
from time import monotonic
from typing import Any, TypeVar

from kubernetes import client
from prometheus_client import Counter
from urllib3 import Retry

from orchestrator.k8s import metrics
from orchestrator.k8s.config import load_configuration
from orchestrator.k8s.errors import Invalid, NotFound, TimedOut, translate
from orchestrator.k8s.parse import Page, parse_deployment, parse_object, parse_page, parse_pod
from orchestrator.k8s.response import read_json, read_lines
from orchestrator.k8s.types import (
    ACTION_ANNOTATION,
    RESTART_ANNOTATION,
    Deployment,
    Pod,
    Preconditions,
    WatchEvent,
    WatchEventType,
    WorkloadKey,
)
from orchestrator.k8s.watch import DeploymentWatch
from orchestrator.verification.judge import Progressing, rollout

T = TypeVar("T")

FIELD_MANAGER = "smartops"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
PAGE_SIZE = 500
WATCH_PERIOD = 300  # seconds after which the server is asked to end a watch, plus jitter
OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class KubernetesCluster:
    """A Cluster. Safe for use by `connections` threads at once.

    A call ends after `timeout` seconds; a watch without a byte for `idle` seconds (the API server sends a bookmark
    about every minute) is taken for half-open and opened again. Raises Unreached if there is no configuration."""

    def __init__(
        self,
        kubeconfig: str | Path | None = None,
        *,
        timeout: float = 10.0,
        idle: float = 75.0,
        connections: int = 16,
    ) -> None:
        with translate():
            configuration = load_configuration(kubeconfig)
        # By default urllib3 repeats a request up to three times: after connection errors, on redirects, and a GET or
        # DELETE even after the server has read it. With False, unlike 0, errors are not wrapped as MaxRetryError.
        configuration.retries = Retry(total=False)
        configuration.connection_pool_maxsize = connections
        api = client.ApiClient(configuration)
        api.user_agent = "smartops-orchestrator"
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._timeout = float(timeout)
        self._idle = float(idle)

    def list_pods(self, namespace: str, selector: str = "") -> list[Pod]:
        pages = self._pages(
            "pods",
            self._core.list_namespaced_pod,
            parse_pod,
            namespace=_path_segment(namespace),
            label_selector=selector,
        )
        return [pod for page in pages for pod in page.items]

    def delete_pod(self, namespace: str, name: str, *, uid: str) -> None:
        self._call(
            "delete",
            "pods",
            self._core.delete_namespaced_pod,
            parse_object,
            _path_segment(name),
            _path_segment(namespace),
            body=client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=uid)),
        )

    def list_deployments(self, namespace: str) -> list[Deployment]:
        return [deployment for page in self._deployment_pages(namespace) for deployment in page.items]

    def get_deployment_status(self, key: WorkloadKey) -> Deployment:
        name, namespace = _path_segment(key.name), _path_segment(key.namespace)
        request = self._apps.read_namespaced_deployment
        return self._call("get", "deployments", request, parse_deployment, name, namespace)

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
            with closing(self._watch(key.namespace, over, field_selector=f"metadata.name={key.name}")) as events:
                listed = False
                while isinstance(progress := rollout(deployment), Progressing):
                    event = next(events, None)
                    if event is None:
                        raise TimedOut(f"{key}: {progress.message}")
                    if event.type is WatchEventType.CHANGED and event.deployment is not None:
                        deployment, listed = event.deployment, True
                    elif event.type is WatchEventType.DELETED or not listed:
                        raise NotFound(f"{key} was deleted", code=404)
        finally:
            timer.cancel()
        return deployment

    def watch_deployments(self, namespace: str, stop: Event) -> Iterator[WatchEvent]:
        return self._watch(namespace, stop)

    def _watch(self, namespace: str, stop: Event, **selectors: str) -> Generator[WatchEvent]:
        request, place = self._list_deployments(namespace)

        def pages() -> Iterator[Page[Deployment]]:
            return self._deployment_pages(namespace, **selectors)

        def lines(resource_version: str) -> Iterator[bytes]:
            with metrics.api_call("watch", "deployments"), translate():
                response = request(
                    **place,
                    **selectors,
                    watch=True,
                    resource_version=resource_version,
                    allow_watch_bookmarks=True,
                    timeout_seconds=round(WATCH_PERIOD * uniform(1, 1.2)),  # noqa: S311 - spreads the load, keeps no secret
                    _preload_content=False,
                    _request_timeout=self._timeout,
                )
            with translate():
                yield from read_lines(response, stop, self._idle)

        for event in DeploymentWatch(pages, lines, stop).events():
            if event.deployment is not None:
                if event.type is WatchEventType.DELETED:
                    metrics.forget(event.deployment.key)
                else:
                    metrics.record(event.deployment)
            yield event

    def _list_deployments(self, namespace: str) -> tuple[Callable[..., Any], dict[str, str]]:
        if namespace:
            return self._apps.list_namespaced_deployment, {"namespace": _path_segment(namespace)}
        return self._apps.list_deployment_for_all_namespaces, {}

    def _deployment_pages(self, namespace: str, **selectors: str) -> Iterator[Page[Deployment]]:
        request, place = self._list_deployments(namespace)
        return self._pages("deployments", request, parse_deployment, **place, **selectors)

    def _pages(
        self, resource: str, request: Callable[..., Any], parse_item: Callable[[Any], T], **arguments: str
    ) -> Iterator[Page[T]]:
        def parse(raw: Any) -> Page[T]:
            return parse_page(raw, parse_item)

        page = self._call("list", resource, request, parse, **arguments, limit=PAGE_SIZE)
        yield page
        while page.continuation:
            page = self._call(
                "list", resource, request, parse, **arguments, limit=PAGE_SIZE, _continue=page.continuation
            )
            yield page

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
            return self._call(
                "patch",
                "deployments",
                self._apps.patch_namespaced_deployment,
                parse_deployment,
                _path_segment(key.name),
                _path_segment(key.namespace),
                body=_with_metadata(patch, preconditions, action),
                field_manager=FIELD_MANAGER,
                field_validation="Strict",  # a field that does not exist is an error, not silence
                dry_run="All" if dry_run else None,
                _content_type=STRATEGIC_MERGE_PATCH,
            )

    def _call(
        self,
        verb: str,
        resource: str,
        request: Callable[..., Any],
        parse: Callable[[Any], T],
        *arguments: str,
        **options: Any,
    ) -> T:
        """One request, one try. A write whose answer cannot be read is Unknown, like one without an answer."""
        with metrics.api_call(verb, resource), translate():
            deadline = monotonic() + self._timeout
            response = request(*arguments, **options, _preload_content=False, _request_timeout=self._timeout)
            return parse(read_json(response, deadline))


def _with_metadata(patch: Mapping[str, Any], preconditions: Preconditions | None, action: str) -> dict[str, Any]:
    metadata = dict(patch.get("metadata") or {})
    if preconditions is not None:
        metadata |= {"uid": preconditions.uid, "resourceVersion": preconditions.resource_version}
    if action:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), ACTION_ANNOTATION: action}
    return {**patch, "metadata": metadata}


def _path_segment(name: str) -> str:
    """An empty name or one of dots would address the collection instead: DELETE .../pods/ deletes them all."""
    if not OBJECT_NAME.fullmatch(name):
        raise Invalid(f"{name!r} cannot be the name of an object", reason="InvalidName")
    return name
