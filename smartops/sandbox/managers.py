"""metadata.managedFields: which manager wrote which field last, and whose fields an apply would change. Pure."""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from smartops.sandbox.objects import Object
from smartops.sandbox.strategic import MERGE_KEYS

Fields: TypeAlias = dict[str, Any]  # FieldsV1: {"f:spec": {"f:replicas": {}}}

OF_THE_SYSTEM = {
    *("name", "namespace", "uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds"),
}

ATOMIC = {"selector"}


def managed(before: Object, after: Object, entry: Object, applied: Object | None = None) -> list[Object]:
    """The managedFields of `after`. `entry` says who wrote it, how and when, and gets the fields that changed, or all
    that were `applied`; the other managers lose what changed."""
    changed = _changed(_of_clients(before), _of_clients(after))
    present = _changed({}, _of_clients(after))
    own: Fields = {}
    kept = []
    for known in after["metadata"].get("managedFields", ()):
        fields = _common(known["fieldsV1"], present)
        if all(known.get(name) == entry.get(name) for name in ("manager", "operation", "subresource")):
            own = fields
        elif left := _less(fields, changed):
            kept.append({**known, "fieldsV1": left})
    own = _union(own, changed) if applied is None else _changed({}, _of_clients(applied))
    return [*kept, {**entry, "fieldsType": "FieldsV1", "fieldsV1": own}] if own else kept


def conflicts(before: Object, after: Object, manager: str) -> Iterator[tuple[str, str]]:
    """Each field of somebody else that an apply of this manager would change: whose it is, and its path."""
    changed = _changed(_of_clients(before), _of_clients(after))
    for known in before["metadata"].get("managedFields", ()):
        if (known["manager"], known["operation"]) == (manager, "Apply"):
            continue
        subresource = f' with subresource "{known["subresource"]}"' if "subresource" in known else ""
        for path in _paths(_common(known["fieldsV1"], changed)):
            yield f'"{known["manager"]}"{subresource} using {known["apiVersion"]}', path


def _paths(fields: Fields, path: str = "") -> Iterator[str]:
    """Of the leaves: `.spec.template.spec.containers[name="app"].image`."""
    if not fields and path:
        yield path
    for name, inner in fields.items():
        step = name.removeprefix("f:")
        if name.startswith("k:"):
            (key, value), *_ = json.loads(name.removeprefix("k:")).items()
            yield from _paths(inner, f"{path}[{key}={json.dumps(value)}]")
        else:
            yield from _paths(inner, f"{path}.{step}")


def _of_clients(obj: Object) -> Object:
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in OF_THE_SYSTEM}
    rest = {name: value for name, value in obj.items() if name != "metadata"}
    return {"metadata": metadata, **rest} if metadata else rest


def _changed(before: Object, after: Object) -> Fields:
    """The fields of `after` that are not the same in `before`."""
    changed: Fields = {}
    for name, value in after.items():
        old = before.get(name)
        if old == value and name in before:
            continue
        inner: Fields | None = None
        if isinstance(value, dict) and value and name not in ATOMIC:
            inner = _changed(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list) and (keyed := _by_key(name, value)):
            known = _by_key(name, old) if isinstance(old, list) else {}
            items = {key: _changed(known.get(key, {}), item) for key, item in keyed.items()}
            inner = {key: fields for key, fields in items.items() if fields}
        if inner != {}:  # where something was only taken away, nothing is written
            changed[f"f:{name}"] = inner or {}
    return changed


def _by_key(field: str, items: list[Any]) -> dict[str, Object]:
    """The items of a list that is a map by a key; empty for other lists."""
    for key in MERGE_KEYS.get(field, ()):
        if all(isinstance(item, dict) and key in item for item in items):
            return {f"k:{json.dumps({key: item[key]}, separators=(',', ':'))}": item for item in items}
    return {}


def _common(fields: Fields, other: Fields) -> Fields:
    both = {name: (inner, other[name]) for name, inner in fields.items() if name in other}
    return {name: found for name, (one, two) in both.items() if (found := _common(one, two)) or not (one and two)}


def _union(fields: Fields, other: Fields) -> Fields:
    both = {name: _union(fields.get(name, {}), inner) for name, inner in other.items()}
    return {**fields, **both}


def _less(fields: Fields, other: Fields) -> Fields:
    """What remains when the leaves of `other` are taken away."""
    left: Fields = {}
    for name, inner in fields.items():
        if name not in other:
            left[name] = inner
        elif remaining := _less(inner, other[name]):
            left[name] = remaining
    return left
