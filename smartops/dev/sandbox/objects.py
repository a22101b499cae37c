"""API objects: plain JSON dictionaries without `kind` and `apiVersion`, which are the key in the store. A stored object
is never changed, so it can be shared and encoded once."""

import json
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class Resource(dict[str, Any]):
    """One stored version of an object."""

    @cached_property
    def encoded(self) -> bytes:
        return encode(self)

    @property
    def metadata(self) -> Object:
        return self["metadata"]  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        return self["metadata"]["name"]  # type: ignore[no-any-return]

    @property
    def namespace(self) -> str:
        """Empty for cluster-scoped objects."""
        return self["metadata"].get("namespace", "")  # type: ignore[no-any-return]

    @property
    def uid(self) -> str:
        return self["metadata"]["uid"]  # type: ignore[no-any-return]

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self["metadata"]


def encode(value: Any) -> bytes:
    """Compact JSON; a lone surrogate becomes a question mark."""
    return ENCODER.encode(value).encode(errors="replace")


OMITTED_WHEN_EMPTY = {"labels", "annotations", "matchLabels", "nodeSelector"}


def canonical(value: Object) -> Object:
    """A deep copy without the values that the types of the API omit: nulls, empty lists, empty maps of strings. So
    explicit and omitted empty values are equal."""
    return json.loads(json.dumps(value), object_hook=_without_empty)  # type: ignore[no-any-return]


def _without_empty(members: Object) -> Object:
    return {
        name: value
        for name, value in members.items()
        if value is not None and value != [] and (value != {} or name not in OMITTED_WHEN_EMPTY)
    }


def timestamp() -> str:
    """The current time in the format of the API: UTC in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def controller_of(obj: Object) -> Object | None:
    """The owner reference of the controller, if there is one."""
    return next((ref for ref in obj["metadata"].get("ownerReferences", ()) if ref.get("controller")), None)


def condition_of(obj: Object, kind: str) -> Object | None:
    return next((entry for entry in obj.get("status", {}).get("conditions", ()) if entry["type"] == kind), None)


def reference(api_version: str, kind: str, owner: Resource) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
