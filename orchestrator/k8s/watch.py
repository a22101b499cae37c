"""List, then watch, for as long as wanted: what a cluster's objects are, whatever happens to the connection."""

import json
import logging
from collections.abc import Callable, Generator, Iterator
from random import uniform
from threading import Event
from time import monotonic
from typing import Any, Generic

from orchestrator.k8s.errors import ClusterError, Expired, Forbidden, Unreached, from_status, translate
from orchestrator.k8s.parse import Page, parse_object, resource_version
from orchestrator.k8s.types import W, WatchEvent, WatchEventType, WorkloadKey

logger = logging.getLogger(__name__)

FIRST_DELAY = 0.1  # seconds; doubled by each attempt that brought nothing
MAX_DELAY = 30.0


class Watch(Generic[W]):
    """`pages` lists; `lines` opens a watch at a resourceVersion and yields its raw lines until it ends. Both fail with
    ClusterErrors, which are dealt with here: the caller of `events` sees none. `resource` is a name for the log."""

    def __init__(
        self,
        resource: str,
        pages: Callable[[], Iterator[Page[W]]],
        lines: Callable[[str], Iterator[bytes]],
        parse: Callable[[Any], W],
        stop: Event,
    ) -> None:
        self._resource = resource
        self._pages = pages
        self._lines = lines
        self._parse = parse
        self._stop = stop
        self._known: dict[WorkloadKey, W] = {}
        self._resource_version = ""  # where to go on; empty: nowhere, list again
        self._complaint = ""  # the trouble that was logged last

    def events(self) -> Generator[WatchEvent[W]]:
        fruitless = 0  # attempts in a row that brought no line
        while not self._stop.is_set():
            started, fruitless = monotonic(), fruitless + 1
            try:
                if not self._resource_version:
                    yield from self._list()
                for line in self._lines(self._resource_version):
                    yield from self._event(line)
                    fruitless, self._complaint = 0, ""
            except Unreached as error:
                self._complain(logging.WARNING, f"the API server cannot be reached: {error}")
            except ClusterError as error:
                self._complain(logging.INFO, f"{error.reason}: {error}")
                if isinstance(error, Forbidden) or error.code == 404:
                    yield WatchEvent(WatchEventType.REFUSED, message=error.message)
                # A connection may be cut at any time. But where the server fails twice without a word, it may be the
                # resourceVersion that it cannot serve: ahead of a restored backup, or before an object we cannot read.
                if isinstance(error, Expired) or fruitless > 1:
                    self._resource_version = ""
            if monotonic() - started > MAX_DELAY:  # a quiet watch is no failure
                fruitless = 0
            delay = min(FIRST_DELAY * 2 ** min(fruitless, 10), MAX_DELAY)
            self._stop.wait(delay * uniform(0.5, 1))  # noqa: S311 - jitter

    def _complain(self, level: int, complaint: str) -> None:
        """Once, however often it is tried again."""
        if complaint != self._complaint and not self._stop.is_set():
            logger.log(level, "The watch of %s was interrupted: %s", self._resource, complaint)
            self._complaint = complaint

    def _list(self) -> Iterator[WatchEvent[W]]:
        seen: set[WorkloadKey] = set()
        version = ""
        for page in self._pages():
            for item in page.items:
                seen.add(item.key)
                before = self._known.get(item.key)
                if before is not None and before.uid != item.uid:
                    yield WatchEvent(WatchEventType.DELETED, before)
                self._known[item.key] = item
                yield WatchEvent(WatchEventType.CHANGED, item)
            version = page.resource_version
        for key in self._known.keys() - seen:
            yield WatchEvent(WatchEventType.DELETED, self._known.pop(key))
        self._resource_version = version
        yield WatchEvent(WatchEventType.SYNCED)

    def _event(self, line: bytes) -> Iterator[WatchEvent[W]]:
        with translate():
            event = parse_object(json.loads(line))
            kind, raw = event.get("type"), parse_object(event.get("object"))
            if kind == "ERROR":
                raise from_status(raw)
            version = resource_version(raw)
            item = None if kind == "BOOKMARK" else self._parse(raw)
        self._resource_version = version
        if item is None:
            return
        if kind == "DELETED":
            self._known.pop(item.key, None)
            yield WatchEvent(WatchEventType.DELETED, item)
        else:
            self._known[item.key] = item
            yield WatchEvent(WatchEventType.CHANGED, item)
