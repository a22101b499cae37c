"""Strategic merge patch: a merge patch that merges lists of type map by their keys. Pure.

The API server takes the keys from its types. Here they follow from the field names, which are unambiguous in the served
kinds; `ports` has two keys, which its items distinguish.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from smartops.dev.sandbox.patches import PatchError

Json: TypeAlias = Any
Map: TypeAlias = dict[str, Any]

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "ports": ("containerPort", "port"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
}
MERGED_PRIMITIVES = {"finalizers"}
DIRECTIVE, RETAIN_KEYS = "$patch", "$retainKeys"
DELETE_PRIMITIVES, ELEMENT_ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic_merge(original: Map, patch: Map) -> Map:
    """Raises PatchError for an invalid directive or list item."""
    match patch.get(DIRECTIVE):
        case None | "merge":
            pass
        case "replace":
            return {key: value for key, value in patch.items() if key != DIRECTIVE}
        case "delete":
            return {}
        case unknown:
            raise PatchError(f"unknown patch type {unknown}")
    merged = _retained(original, patch.get(RETAIN_KEYS))
    for key, value in patch.items():
        if key.startswith(DELETE_PRIMITIVES):
            field = key.removeprefix(DELETE_PRIMITIVES)
            if field in merged:
                merged[field] = [item for item in _known(merged, field) if item not in _list(key, value)]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            if value.get(DIRECTIVE) == "delete":
                merged.pop(key, None)
            else:
                before = merged.get(key)
                merged[key] = strategic_merge(before if isinstance(before, dict) else {}, value)
        elif isinstance(value, list):
            merged[key] = _merge_list(key, _known(merged, key), value)
        else:
            merged[key] = value
    for field in {key.removeprefix(ELEMENT_ORDER) for key in patch} & (MERGE_KEYS.keys() | MERGED_PRIMITIVES):
        order = patch.get(f"{ELEMENT_ORDER}{field}", patch.get(field))
        if isinstance(merged.get(field), list) and order is not None:
            merged[field] = _ordered(field, merged[field], _known(original, field), _list(field, order))
    return merged


def _retained(original: Map, keys: Json) -> Map:
    kept = list(original) if keys is None else _list(RETAIN_KEYS, keys)
    return {key: value for key, value in original.items() if key in kept}


def _merge_list(field: str, original: list[Json], patch: list[Json]) -> list[Json]:
    if field in MERGED_PRIMITIVES:
        return [*original, *(item for item in patch if item not in original)]
    maps = [item for item in patch if isinstance(item, dict)]
    if any(item.get(DIRECTIVE) == "replace" for item in maps):
        return [item for item in patch if item != {DIRECTIVE: "replace"}]
    key = _merge_key(field, [*maps, *original])
    if key is None:
        return patch
    if len(maps) < len(patch) or not all(key in item for item in maps):
        raise PatchError(f"map: {patch} does not contain declared merge key: {key}")
    merged = list(original)
    for item in maps:
        at = next((index for index, known in enumerate(merged) if _identity(key, known) == item[key]), None)
        if item.get(DIRECTIVE) == "delete":
            merged = [known for known in merged if _identity(key, known) != item[key]]
        elif at is None:
            merged.append(strategic_merge({}, item))
        else:
            merged[at] = strategic_merge(merged[at], item)
    return merged


def _merge_key(field: str, items: Sequence[Json]) -> str | None:
    candidates = MERGE_KEYS.get(field)
    if candidates is None:
        return None
    present = [key for key in candidates if any(isinstance(item, dict) and key in item for item in items)]
    return (present or candidates)[0]


def _ordered(field: str, merged: list[Json], original: list[Json], order: list[Json]) -> list[Json]:
    """The items of the patch in its order. Every other item keeps its place before the item that it preceded on the
    server, and comes after new items."""
    key = None if field in MERGED_PRIMITIVES else _merge_key(field, [*order, *merged])
    wanted = [_identity(key, item) for item in order]
    server = [_identity(key, item) for item in original]
    named = [item for name in wanted for item in merged if _identity(key, item) == name]
    others = [item for item in merged if _identity(key, item) not in wanted]
    result = []
    while named and others:
        one, other = _identity(key, named[0]), _identity(key, others[0])
        first = one in server and other in server and server.index(other) < server.index(one)
        result.append((others if first else named).pop(0))
    return [*result, *named, *others]


def _identity(key: str | None, item: Json) -> Json:
    return item.get(key) if key is not None and isinstance(item, dict) else item


def _known(document: Map, field: str) -> list[Json]:
    value = document.get(field)
    return value if isinstance(value, list) else []


def _list(field: str, value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise PatchError(f"{field} is a list")
    return value
