"""All objects of the cluster, one version counter, and the recent events. Without HTTP, clock and validation."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from smartops.dev.sandbox.errors import expired
from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.resources import KINDS, Kind


@dataclass(frozen=True, slots=True)
class Event:
    """`previous` is None for ADDED; for DELETED `object` is the last state at the version of its deletion."""

    type: str
    kind: Kind
    object: Resource
    previous: Resource | None
    version: int


Subscriber = Callable[[Event], None]


class Store:
    """`history` is the maximum number of events per kind from which a watch can resume."""

    def __init__(self, *, history: int = 10_000, version: int = 1) -> None:
        self.version = version
        self._objects: dict[Kind, dict[str, dict[str, Resource]]] = {kind: {} for kind in KINDS}
        self._owned: dict[str, dict[tuple[Kind, str, str], None]] = {}
        self._events: dict[Kind, deque[Event]] = {kind: deque(maxlen=history) for kind in KINDS}
        self._oldest: dict[Kind, int] = dict.fromkeys(KINDS, version)
        self._subscribers: dict[Kind, dict[Subscriber, None]] = {kind: {} for kind in KINDS}

    def get(self, kind: Kind, namespace: str, name: str) -> Resource | None:
        return self._objects[kind].get(namespace, {}).get(name)

    def objects(self, kind: Kind, namespace: str = "") -> list[Resource]:
        """Sorted by namespace and name; the empty namespace means all."""
        spaces = self._objects[kind]
        chosen = [namespace] if namespace else sorted(spaces)
        return [found for space in chosen for _, found in sorted(spaces.get(space, {}).items())]

    def objects_at(self, version: int, kind: Kind, namespace: str) -> list[Resource]:
        """The objects at that version. Raises 410 if the history is shorter."""
        found = {(obj.namespace, obj.name): obj for obj in self.objects(kind, namespace)}
        for event in reversed(self.since(kind, version)):
            key = (event.object.namespace, event.object.name)
            if event.previous is None:
                found.pop(key, None)
            elif namespace in ("", event.object.namespace):
                found[key] = event.previous
        return [found[key] for key in sorted(found)]

    def count(self, kind: Kind) -> int:
        return sum(map(len, self._objects[kind].values()))

    def owned_by(self, uid: str) -> list[tuple[Kind, Resource]]:
        """The dependents of the object `uid`, in the order of creation."""
        keys = self._owned.get(uid, ())
        return [(kind, self._objects[kind][namespace][name]) for kind, namespace, name in keys]

    def put(self, kind: Kind, obj: Object) -> Resource:
        """Store the next version of an object. The caller must not change the object afterwards."""
        self.version += 1
        stored = Resource({**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}})
        space = self._objects[kind].setdefault(stored.namespace, {})
        previous = space.get(stored.name)
        space[stored.name] = stored
        self._own(kind, previous, stored)
        self._record(Event("MODIFIED" if previous else "ADDED", kind, stored, previous, self.version))
        return stored

    def remove(self, kind: Kind, obj: Resource) -> Resource:
        """Remove the object and return its last state, at the version of the deletion."""
        self.version += 1
        previous = self._objects[kind][obj.namespace].pop(obj.name)
        last = Resource({**previous, "metadata": {**previous["metadata"], "resourceVersion": str(self.version)}})
        self._own(kind, previous, None)
        self._record(Event("DELETED", kind, last, previous, self.version))
        return last

    def since(self, kind: Kind, version: int) -> list[Event]:
        """The events after `version`. Raises 410 Expired if the history is shorter."""
        if version < self._oldest[kind]:
            raise expired(version, self._oldest[kind])
        newest_first = takewhile(lambda event: event.version > version, reversed(self._events[kind]))
        return list(newest_first)[::-1]

    def compact(self) -> None:
        """Drop the history and increment the version, so that every version read so far is too old for a watch."""
        self.version += 1
        self._oldest = dict.fromkeys(KINDS, self.version)
        for events in self._events.values():
            events.clear()

    def subscribe(self, kind: Kind, subscriber: Subscriber) -> None:
        """Call back for every event, inside the write. A subscriber must not write in the callback."""
        self._subscribers[kind][subscriber] = None

    def unsubscribe(self, kind: Kind, subscriber: Subscriber) -> None:
        self._subscribers[kind].pop(subscriber, None)

    def _own(self, kind: Kind, before: Resource | None, after: Resource | None) -> None:
        old = before.metadata.get("ownerReferences", ()) if before else ()
        new = after.metadata.get("ownerReferences", ()) if after else ()
        if old == new:
            return
        either = after or before
        assert either is not None
        key = (kind, either.namespace, either.name)
        for reference in old:
            owned = self._owned.get(reference["uid"], {})
            owned.pop(key, None)
            if not owned:
                self._owned.pop(reference["uid"], None)
        for reference in new:
            self._owned.setdefault(reference["uid"], {})[key] = None

    def _record(self, event: Event) -> None:
        events = self._events[event.kind]
        if len(events) == events.maxlen:
            self._oldest[event.kind] = events[0].version if events else event.version
        events.append(event)
        for subscriber in tuple(self._subscribers[event.kind]):
            subscriber(event)
