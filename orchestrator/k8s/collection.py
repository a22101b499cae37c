"""The objects of one resource, in one namespace or in all of them: listed in pages, and watched."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from random import uniform
from typing import Any, Generic

from orchestrator.k8s.connection import Connection
from orchestrator.k8s.interruption import Interruption
from orchestrator.k8s.parse import Page
from orchestrator.k8s.resources import Resource
from orchestrator.k8s.types import W, WatchEvent
from orchestrator.k8s.watch import Watch

WATCH_PERIOD = 600  # seconds after which the server is to end a watch, plus jitter


@dataclass(frozen=True, slots=True)
class Collection(Generic[W]):
    """`namespace` is None for all namespaces. `parse` turns one item of the API's JSON into an object. Invalid if the
    namespace is not a name."""

    connection: Connection
    resource: Resource
    parse: Callable[[Any], W]
    namespace: str | None = None

    def __post_init__(self) -> None:
        self.resource.path(self.namespace)  # a watch would retry the error

    def pages(self, **selectors: str) -> Iterator[Page[W]]:
        return self.connection.pages(self.resource, self.parse, self.namespace, selectors)

    def watch(self, stop: Interruption, idle: float, **selectors: str) -> Generator[WatchEvent[W]]:
        """All objects, SYNCED, then every change until `stop` is set. `idle` is in seconds, as for a connection."""

        def pages() -> Iterator[Page[W]]:
            return self.pages(**selectors)

        def lines(resource_version: str) -> Iterator[bytes]:
            period = round(WATCH_PERIOD * uniform(1, 1.2))  # noqa: S311 - spreads the load, keeps no secret
            start = {"resourceVersion": resource_version, "allowWatchBookmarks": "true", "timeoutSeconds": str(period)}
            return self.connection.lines(self.resource, self.namespace, {**selectors, **start}, stop, idle)

        return Watch(self.resource.name, pages, lines, self.parse, stop).events()
