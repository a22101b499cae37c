"""metadata.managedFields (which manager last wrote which field), and server-side apply. Pure."""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from smartops.dev.sandbox.errors import apply_conflict
from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.strategic import MERGE_KEYS, strategic_merge

Fields: TypeAlias = dict[str, Any]  # FieldsV1: {"f:spec": {"f:replicas": {}}}

OF_THE_SYSTEM = {
    *("name", "namespace", "uid", "resourceVersion", "generation", "managedFields", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds"),
}

ATOMIC = {"selector"}


def managed(before: Object, after: Object, entry: Object, applied: Object | None = None) -> list[Object]:
    """The managedFields of `after`. `entry` has manager, operation and time of the write, and gets the changed fields,
    or all `applied` fields; the other managers lose the changed fields. Returns the old list if only times differ."""
    changed, present = _fields(before, after), _fields({}, after)
    if entry.get("subresource") != "status":
        changed.pop("f:status", None)
    entries, who = after["metadata"].get("managedFields", []), _identity(entry)
    before_this = {_identity(known): known["fieldsV1"] for known in entries}
    present_still = {each: _common(fields, present) for each, fields in before_this.items()}
    own = _union(present_still.pop(who, {}), changed) if applied is None else _fields({}, applied)
    owned = {each: left for each, fields in present_still.items() if (left := _less(fields, changed))}
    owned |= {who: own} if own else {}
    if owned == before_this:
        return entries  # type: ignore[no-any-return]
    kept = [{**known, "fieldsV1": owned[_identity(known)]} for known in entries if _identity(known) in owned]
    others = [known for known in kept if _identity(known) != who]
    return [*others, {**entry, "fieldsType": "FieldsV1", "fieldsV1": own}] if own else others


def apply(live: Object, config: Object, manager: str, *, force: bool) -> Object:
    """`live` with the fields that `manager` applies, without those that only it applied before. Raises 409 if it would
    change fields of other managers, unless forced."""
    merged = strategic_merge(live, config)
    changed, wanted = _fields(live, merged), _fields({}, config)
    dropped: Fields = {}
    others = []
    for known in live["metadata"].get("managedFields", ()):
        if (known["manager"], known["operation"]) == (manager, "Apply"):
            dropped = _less(known["fieldsV1"], wanted)
        else:
            others.append(known)
    conflicts = [conflict for known in others for conflict in _conflicts(known, changed)]
    if conflicts and not force:
        raise apply_conflict(conflicts)
    for known in others:
        dropped = _less(dropped, known["fieldsV1"])
    without: Object = _without(merged, dropped)
    return without


def _identity(entry: Object) -> tuple[str, str, str]:
    return entry["manager"], entry["operation"], entry.get("subresource", "")


def _conflicts(known: Object, changed: Fields) -> Iterator[tuple[str, str]]:
    """The conflicts of the change: pairs of manager and path."""
    subresource = f' with subresource "{known["subresource"]}"' if "subresource" in known else ""
    for path in _paths(_common(known["fieldsV1"], changed)):
        yield f'"{known["manager"]}"{subresource} using {known["apiVersion"]}', path


def _paths(fields: Fields) -> Iterator[str]:
    """`.spec.containers[name="app"].image`, for each leaf."""
    for name, inner in fields.items():
        kind, _, text = name.partition(":")
        keys = json.loads(text).items() if kind == "k" else ()
        step = f".{text}" if kind == "f" else f"[{','.join(f'{key}={json.dumps(value)}' for key, value in keys)}]"
        yield from [step + rest for rest in _paths(inner)] if inner else [step]


def _without(obj: Object, fields: Fields) -> Object:
    """The object without the leaves of `fields`; a list item is removed with its key."""
    kept: Object = {}
    for name, value in obj.items():
        inner = fields.get(f"f:{name}")
        if not inner:
            kept |= {name: value} if inner is None else {}
        elif isinstance(value, list):
            keyed = [(item, key, inner.get(key, {})) for key, item in _by_key(name, value).items()]
            kept[name] = [_without(item, left) for item, key, left in keyed if f"f:{_key_field(key)}" not in left]
        else:
            kept[name] = _without(value, inner)
    return kept


def _key_field(key: str) -> str:
    (field,) = json.loads(key.removeprefix("k:"))
    return str(field)


def _fields(before: Object, after: Object) -> Fields:
    """The fields written by clients whose values in `before` and `after` differ."""
    return _changed(_of_clients(before), _of_clients(after))


def _of_clients(obj: Object) -> Object:
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name not in OF_THE_SYSTEM}
    rest = {name: value for name, value in obj.items() if name not in ("metadata", "kind", "apiVersion")}
    return {"metadata": metadata, **rest} if metadata else rest


def _changed(before: Object, after: Object) -> Fields:
    """The fields of `after` whose values differ from `before`."""
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
    """The items by key of a list of type map; empty for other lists."""
    for key in MERGE_KEYS.get(field, ()):
        if all(isinstance(item, dict) and key in item for item in items):
            return {f"k:{json.dumps({key: item[key]}, separators=(',', ':'))}": item for item in items}
    return {}


def _common(fields: Fields, other: Fields) -> Fields:
    common = {}
    for name, inner in fields.items():
        deeper = _common(inner, other.get(name, {}))
        if name in other and (deeper or not inner or not other[name]):
            common[name] = deeper
    return common


def _union(fields: Fields, other: Fields) -> Fields:
    both = {name: _union(fields.get(name, {}), inner) for name, inner in other.items()}
    return {**fields, **both}


def _less(fields: Fields, other: Fields) -> Fields:
    """The set without the leaves of `other`."""
    left: Fields = {}
    for name, inner in fields.items():
        if name not in other:
            left[name] = inner
        elif remaining := _less(inner, other[name]):
            left[name] = remaining
    return left
