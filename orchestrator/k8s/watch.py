"""List, then watch: the objects of one resource and their changes, over any number of connections."""

import json
import logging
from collections.abc import Callable, Generator, Hashable, Iterator
from random import uniform
from threading import Event
from time import monotonic
from typing import Any, Generic

from orchestrator.k8s.errors import ClusterError, Expired, Forbidden, Unreached, from_status
from orchestrator.k8s.parse import Page, parse_object, resource_version
from orchestrator.k8s.translation import translate
from orchestrator.k8s.types import W, WatchEvent, WatchEventType

logger = logging.getLogger(__name__)

FIRST_DELAY = 0.1  # seconds; doubled by each attempt without a line
MAX_DELAY = 30.0


class Watch(Generic[W]):
    """`pages` lists; `lines` opens a watch at a resourceVersion and yields its raw lines until it ends. Both raise
    ClusterErrors; `events` retries and raises none. `resource` is a name for the log."""

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
        self._known: dict[Hashable, W] = {}
        self._resource_version = ""  # where to continue; "": list again
        self._problem = ""  # the one that was logged last

    def events(self) -> Generator[WatchEvent[W]]:
        failures = 0  # attempts in a row without a line
        while not self._stop.is_set():
            started, failures = monotonic(), failures + 1
            listing = not self._resource_version
            try:
                if listing:
                    yield from self._list()
                    listing = False
                for line in self._lines(self._resource_version):
                    yield from self._event(line)
                    failures, self._problem = 0, ""
            except Unreached as error:
                self._log_once(logging.WARNING, f"the API server is unreachable: {error}")
                if listing:
                    yield WatchEvent(WatchEventType.FAILED, message=f"the API server is unreachable: {error}")
            except ClusterError as error:
                self._log_once(logging.INFO, f"{error.reason}: {error}")
                refused = isinstance(error, Forbidden) or error.code == 404
                # A connection may break at any time. After two failures without a line the server may be unable to
                # serve the resourceVersion: it is ahead of a restored backup, or the next object cannot be parsed.
                # After a refusal, only a new list shows that it is over.
                if refused or isinstance(error, Expired) or failures > 1:
                    self._resource_version = ""
                if refused or listing:
                    kind = WatchEventType.REFUSED if refused else WatchEventType.FAILED
                    yield WatchEvent(kind, message=error.message)
            if monotonic() - started > MAX_DELAY:  # a quiet watch is not a failure
                failures = 0
            delay = min(FIRST_DELAY * 2 ** min(failures, 10), MAX_DELAY)
            self._stop.wait(delay * uniform(0.5, 1))  # noqa: S311 - jitter

    def _log_once(self, level: int, problem: str) -> None:
        """Not for each retry."""
        if problem != self._problem and not self._stop.is_set():
            logger.log(level, "Watch of %s interrupted, retrying: %s", self._resource, problem)
            self._problem = problem

    def _list(self) -> Iterator[WatchEvent[W]]:
        listed: set[Hashable] = set()
        version = ""
        for page in self._pages():
            for item in page.items:
                listed.add(item.key)
                before = self._known.get(item.key)
                if before is not None and before.uid != item.uid:
                    yield WatchEvent(WatchEventType.DELETED, before)
                self._known[item.key] = item
                yield WatchEvent(WatchEventType.CHANGED, item)
            version = page.resource_version
        for key in self._known.keys() - listed:
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
