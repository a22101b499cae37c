"""Which lists of the watched namespaces have been read, and why the others have not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock

from orchestrator.k8s.resources import Resource
from signals.types import Kind

UNTIL_LISTED = 86_400.0  # seconds: the first list is under way, and its end decides
LEFT_TO_OTHERS = 10.0  # seconds in which a reconciler that can read the namespace takes up a row
Delays = Mapping[tuple[str, Kind], float]  # seconds, by namespace ("*": all) and kind
NO_DELAYS: Delays = {}


@dataclass(frozen=True, slots=True)
class MissingList:
    """`cause` is a sentence, "" while the first list is under way. `refused`: the API server denied it, or does not
    have the resource; it is tried again all the same."""

    resource: Resource
    namespace: str  # "*": all namespaces
    cause: str = ""
    refused: bool = False

    def __str__(self) -> str:
        """One line for an operator."""
        return f"{self.what}: {self.why}"

    @property
    def what(self) -> str:
        where = "all namespaces" if self.namespace == "*" else f"namespace {self.namespace}"
        return f"{self.resource.name} in {where}"

    @property
    def why(self) -> str:
        return self.cause or "the first list has not ended yet"


class SyncStatus:
    """Of each resource in each namespace. Watching threads report; any thread may read."""

    def __init__(self, resources: Iterable[Resource], namespaces: Iterable[str]) -> None:
        namespaces = sorted(namespaces)
        keys = [(resource, namespace) for resource in resources for namespace in namespaces]
        self._missing = {key: MissingList(*key) for key in keys}
        self._lock = Lock()

    def synced(self, resource: Resource, namespace: str) -> MissingList | None:
        """The list is complete. Returns what was known before."""
        with self._lock:
            return self._missing.pop((resource, namespace), None)

    def failed(self, resource: Resource, namespace: str, cause: str, *, refused: bool) -> MissingList | None:
        """The list or the watch failed. A refusal counts at any time: what was listed before may have changed since.
        Any other failure is an interruption, and counts until the first list. Returns it if it is news."""
        with self._lock:
            before = self._missing.get((resource, namespace))
            if before is None and not refused:
                return None
            now = MissingList(resource, namespace, cause, refused)
            self._missing[resource, namespace] = now
            return None if now == before else now

    def missing(self) -> list[MissingList]:
        """By resource and namespace."""
        with self._lock:
            found = list(self._missing.values())
        return sorted(found, key=lambda one: (one.resource.name, one.namespace))

    def find(self, resource: Resource, namespace: str) -> MissingList | None:
        """None if the list is complete."""
        return self._missing.get((resource, namespace))
