"""The garbage collector: background, foreground and orphan deletion of dependents, and the deletion of all objects of a
namespace."""

from smartops.dev.sandbox.objects import Object, Resource
from smartops.dev.sandbox.registry import FOREGROUND, ORPHAN, Registry
from smartops.dev.sandbox.resources import KINDS, NAMESPACE, Kind
from smartops.dev.sandbox.store import Event
from smartops.dev.sandbox.workqueue import WorkQueue


class GarbageCollector:
    def __init__(self, registry: Registry) -> None:
        self._registry, self._store = registry, registry.store
        self._waiting: dict[str, tuple[Kind, str, str]] = {}  # by uid: what is deleted once it has no dependents
        self._owners = WorkQueue[str](self._collect)
        self._namespaces = WorkQueue[str](self._empty)
        for kind in KINDS:
            self._store.subscribe(kind, self._see)

    def _see(self, event: Event) -> None:
        gone, uid = event.object, event.object.uid
        if event.type != "DELETED":
            if gone.deleting and not {FOREGROUND, ORPHAN}.isdisjoint(gone.metadata.get("finalizers", ())):
                self._waiting[uid] = event.kind, gone.namespace, gone.name
                self._owners.add(uid)
            return
        self._waiting.pop(uid, None)
        self._owners.add(uid)
        for reference in gone.metadata.get("ownerReferences", ()):
            if reference["uid"] in self._waiting:
                self._owners.add(reference["uid"])
        if event.kind is NAMESPACE:
            self._namespaces.add(gone.name)

    def _collect(self, uid: str) -> None:
        """The dependents of an owner that is deleted or has a deletionTimestamp."""
        waiting = self._waiting.get(uid)
        owner = self._store.get(*waiting) if waiting else None
        finalizers = owner.metadata.get("finalizers", ()) if owner else ()
        for kind, dependent in self._store.owned_by(uid):
            others = [reference for reference in dependent.metadata["ownerReferences"] if reference["uid"] != uid]
            if ORPHAN in finalizers or others:
                self._release(kind, dependent, others)
            elif not dependent.deleting:
                self._registry.delete(kind, dependent, {})
        if waiting and owner and not self._store.owned_by(uid):
            left = [name for name in finalizers if name not in (FOREGROUND, ORPHAN)]
            metadata = {**owner.metadata, "finalizers": left}
            self._registry.write(waiting[0], owner, {**owner, "metadata": metadata})

    def _release(self, kind: Kind, dependent: Resource, others: list[Object]) -> None:
        metadata = {name: value for name, value in dependent.metadata.items() if name != "ownerReferences"}
        metadata |= {"ownerReferences": others} if others else {}
        self._registry.write(kind, dependent, {**dependent, "metadata": metadata})

    def _empty(self, namespace: str) -> None:
        if self._store.get(NAMESPACE, "", namespace) is None:
            for kind in (kind for kind in KINDS if kind.namespaced):
                for found in self._store.objects(kind, namespace):
                    self._store.remove(kind, found)
