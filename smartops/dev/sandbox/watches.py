"""One watch: its selection of events, and their encoding. Without HTTP."""

import asyncio

from smartops.dev.sandbox.errors import ApiError
from smartops.dev.sandbox.objects import Object, Resource, encode
from smartops.dev.sandbox.requests import Request, Target
from smartops.dev.sandbox.store import Event, Store
from smartops.dev.sandbox.tables import table


class Watch:
    """Buffers the lines to send. `changed` is set when there are lines, and when a fault affects the watch. The owner
    must call `close`."""

    def __init__(self, store: Store, request: Request, target: Target) -> None:
        self.path = request.path
        self.changed = asyncio.Event()
        self.cut = self.muted = self.ended = False
        self._store, self._target, self._request = store, target, request
        self._selects = request.selects(target)
        self._lines: list[bytes] = []
        self._bookmarks = request.query.get("allowWatchBookmarks") in ("1", "true")
        version = request.query.get("resourceVersion", "")
        if version and not version.isdecimal():
            raise ApiError(500, "", f'resourceVersion: Invalid value: "{version}"')  # sic
        streams_list = request.query.get("sendInitialEvents") in ("1", "true")
        if streams_list or version in ("", "0"):
            self._start_with_everything()
            if streams_list:
                self.bookmark({"k8s.io/initial-events-end": "true"})
        else:
            self._resume(int(version))
        store.subscribe(target.kind, self._see)

    def close(self) -> None:
        self._store.unsubscribe(self._target.kind, self._see)

    def take(self) -> bytes:
        """Remove and return the buffered lines."""
        lines, self._lines = self._lines, []
        self.changed.clear()
        return b"".join(lines)

    def bookmark(self, annotations: Object | None = None) -> None:
        """Append a bookmark, if the client requested bookmarks."""
        if self._bookmarks:
            metadata: Object = {"resourceVersion": str(self._store.version)}
            metadata |= {"annotations": annotations} if annotations else {}
            self._say("BOOKMARK", Resource({"metadata": metadata}))

    def strike(self, *, cut: bool) -> None:
        """With `cut`, the connection is closed; otherwise nothing is sent any more."""
        self.cut, self.muted = cut, not cut
        self.close()
        self.changed.set()

    def _start_with_everything(self) -> None:
        for obj in self._store.objects(self._target.kind, self._target.namespace):
            if self._selects(obj):
                self._say("ADDED", obj)

    def _resume(self, version: int) -> None:
        try:
            events = self._store.since(self._target.kind, version)
        except ApiError as error:
            self._lines.append(b'{"type":"ERROR","object":' + encode(error.status()) + b"}\n")
            self.ended = True
            return
        for event in events:
            self._see(event)

    def _see(self, event: Event) -> None:
        """An object that starts to match is ADDED; one that stops matching is DELETED."""
        if self._target.namespace not in ("", event.object.namespace):
            return
        before = event.previous is not None and self._selects(event.previous)
        now = event.type != "DELETED" and self._selects(event.object)
        if before or now:
            self._say("MODIFIED" if before and now else "ADDED" if now else "DELETED", event.object)

    def _say(self, type_: str, obj: Resource) -> None:
        kind = self._target.kind
        if self._request.wants_table and type_ != "BOOKMARK":
            whole = self._request.query.get("includeObject") == "Object"
            shown = encode(table(kind, [obj], {"resourceVersion": obj.metadata["resourceVersion"]}, whole=whole))
        else:
            shown = kind.prefix + obj.encoded[1:]
        self._lines.append(b'{"type":"' + type_.encode() + b'","object":' + shown + b"}\n")
        self.changed.set()
