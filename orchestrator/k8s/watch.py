"""List, then watch, for as long as wanted: what a cluster's Deployments are, whatever happens to the connection."""

import json
import logging
from collections.abc import Callable, Iterator
from random import uniform
from threading import Event
from time import monotonic

from orchestrator.k8s.errors import ClusterError, Expired, Unreached, from_status, translate
from orchestrator.k8s.parse import Page, parse_deployment, parse_object, resource_version
from orchestrator.k8s.types import Deployment, WatchEvent, WatchEventType, WorkloadKey

logger = logging.getLogger(__name__)

FIRST_DELAY = 0.1  # seconds; doubled by each attempt that brought nothing
LONGEST_DELAY = 30.0


class DeploymentWatch:
    """`pages` lists; `lines` opens a watch at a resourceVersion and yields its raw lines until it ends. Both fail with
    ClusterErrors, which are dealt with here: the caller of `events` sees none."""

    def __init__(
        self,
        pages: Callable[[], Iterator[Page[Deployment]]],
        lines: Callable[[str], Iterator[bytes]],
        stop: Event,
    ) -> None:
        self._pages = pages
        self._lines = lines
        self._stop = stop
        self._known: dict[WorkloadKey, Deployment] = {}
        self._resource_version = ""  # where to go on; empty: nowhere, list again

    def events(self) -> Iterator[WatchEvent]:
        fruitless = 0  # attempts in a row that brought no line
        while not self._stop.is_set():
            started, fruitless = monotonic(), fruitless + 1
            try:
                if not self._resource_version:
                    yield from self._list()
                for line in self._lines(self._resource_version):
                    yield from self._event(line)
                    fruitless = 0
            except Unreached as error:
                logger.warning("The API server cannot be reached: %s", error)
            except ClusterError as error:
                if not self._stop.is_set():
                    logger.info("The watch of Deployments was interrupted: %s: %s", error.reason, error)
                # A connection may be cut at any time. But where the server fails twice without a word, it may be the
                # resourceVersion that it cannot serve: ahead of a restored backup, or before an object we cannot read.
                if isinstance(error, Expired) or fruitless > 1:
                    self._resource_version = ""
            if monotonic() - started > LONGEST_DELAY:  # a quiet watch is no failure
                fruitless = 0
            delay = min(FIRST_DELAY * 2 ** min(fruitless, 10), LONGEST_DELAY)
            self._stop.wait(delay * uniform(0.5, 1))  # noqa: S311 - jitter

    def _list(self) -> Iterator[WatchEvent]:
        seen: set[WorkloadKey] = set()
        version = ""
        for page in self._pages():
            for deployment in page.items:
                seen.add(deployment.key)
                before = self._known.get(deployment.key)
                if before is not None and before.uid != deployment.uid:
                    yield WatchEvent(WatchEventType.DELETED, before)
                self._known[deployment.key] = deployment
                yield WatchEvent(WatchEventType.CHANGED, deployment)
            version = page.resource_version
        for key in self._known.keys() - seen:
            yield WatchEvent(WatchEventType.DELETED, self._known.pop(key))
        self._resource_version = version
        yield WatchEvent(WatchEventType.SYNCED)

    def _event(self, line: bytes) -> Iterator[WatchEvent]:
        with translate():
            event = parse_object(json.loads(line))
            kind, raw = event.get("type"), parse_object(event.get("object"))
            if kind == "ERROR":
                raise from_status(raw)
            version = resource_version(raw)
            deployment = None if kind == "BOOKMARK" else parse_deployment(raw)
        self._resource_version = version
        if deployment is None:
            return
        if kind == "DELETED":
            self._known.pop(deployment.key, None)
            yield WatchEvent(WatchEventType.DELETED, deployment)
        else:
            self._known[deployment.key] = deployment
            yield WatchEvent(WatchEventType.CHANGED, deployment)
