"""The objects of one kind, in one namespace or in all of them: listed in pages, and watched."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from random import uniform
from threading import Event
from typing import Any, Generic

from orchestrator.k8s.connection import Connection, Request
from orchestrator.k8s.parse import Page
from orchestrator.k8s.types import W, WatchEvent
from orchestrator.k8s.watch import Watch

WATCH_PERIOD = 300  # seconds after which the server is asked to end a watch, plus jitter


@dataclass(frozen=True, slots=True)
class Collection(Generic[W]):
    """`request` is the client library's operation that lists; `place` are its arguments that say where."""

    connection: Connection
    resource: str
    request: Request
    parse: Callable[[Any], W]
    place: Mapping[str, str]

    def pages(self, **selectors: str) -> Iterator[Page[W]]:
        return self.connection.pages(self.resource, self.request, self.parse, **self.place, **selectors)

    def watch(self, stop: Event, idle: float, **selectors: str) -> Generator[WatchEvent[W]]:
        """All of them now, SYNCED, then every change until `stop` is set. `idle` is in seconds, as for a connection."""

        def pages() -> Iterator[Page[W]]:
            return self.pages(**selectors)

        def lines(resource_version: str) -> Iterator[bytes]:
            return self.connection.lines(
                self.resource,
                self.request,
                stop,
                idle,
                **self.place,
                **selectors,
                resource_version=resource_version,
                allow_watch_bookmarks=True,
                timeout_seconds=round(WATCH_PERIOD * uniform(1, 1.2)),  # noqa: S311 - spreads the load, keeps no secret
            )

        return Watch(self.resource, pages, lines, self.parse, stop).events()
