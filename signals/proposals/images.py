"""The fields that a change touches, as they were before it and as they are after it, and the patch that puts them back.
Pure.

An image is a JSON object: the path of a field (paths.py) with its value. A field that the object does not have is not
in it. `document` is the part of an object that actions may change, as its manifest has it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from signals.proposals.paths import CONTAINERS, LEFT_OUT_OF_PODS, POD, Item, join, mapping, split

Document = Mapping[str, Any]
Image = Mapping[str, Any]

# Of these, a change creates or removes the whole object: an empty one is not the same as none.
OPTIONAL = ("spec.strategy", "spec.updateStrategy", f"{POD}.affinity")
# The one list of objects, besides the containers, that a strategic merge patch merges by a key of its items.
SPREAD, SPREAD_KEY = f"{POD}.topologySpreadConstraints", "topologyKey"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Images:
    before: Image
    after: Image


@dataclass(frozen=True, slots=True)
class Irreversible:
    """There is no change that puts the fields back."""

    why: str


UNCHANGED = Irreversible("No field has changed.")


def images(patch: Mapping[str, Any], document: Document) -> Images:
    """What a strategic merge patch changes. The image after it lacks the defaults of the API server: `observe` has
    them, from the answer to the write."""
    touched = list(_touched(patch, document, ""))
    merged = {path: _merged(path, old, new) for path, old, new in touched}
    return Images(
        before={path: old for path, old, _ in touched if old is not _ABSENT},
        after={path: value for path, value in merged.items() if value is not _ABSENT},
    )


def values_at(paths: Iterable[str], document: Document) -> Image:
    """The fields as they are in an object. A change is still in effect if this equals its image."""
    found = {path: _read(document, path) for path in paths}
    return {path: value for path, value in found.items() if value is not _ABSENT}


def inverse(patch: Mapping[str, Any], known: Images) -> dict[str, Any] | Irreversible:
    """The strategic merge patch that puts the fields back which `patch` has changed."""
    restored: dict[str, Any] = {}
    for path in [*known.before, *(path for path in known.after if path not in known.before)]:
        before, after = known.before.get(path, _ABSENT), known.after.get(path, _ABSENT)
        if before == after:
            continue
        if path == SPREAD and (lost := _lost(before, after)):
            return Irreversible(lost)
        _put(restored, split(path), _back(path, before, after))
    _in_order(restored, patch)
    return restored or UNCHANGED


def _touched(patch: Mapping[str, Any], document: Document, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(path, value in the document, value in the patch). An object is entered, unless the change creates it."""
    for name, new in patch.items():
        if path == POD and name in LEFT_OUT_OF_PODS:
            continue
        here = join(path, f"f:{name}") if path else name
        old = document.get(name, _ABSENT)
        if here == CONTAINERS and isinstance(new, list):
            yield from _touched_containers(new, old)
        elif isinstance(new, Mapping) and not (old is _ABSENT and here.startswith(OPTIONAL)):
            yield from _touched(new, mapping(old), here)
        else:
            yield here, old, new


def _touched_containers(patched: list[Any], containers: Any) -> Iterator[tuple[str, Any, Any]]:
    known = {one.get("name"): one for one in map(mapping, containers if isinstance(containers, list) else [])}
    for one in map(mapping, patched):
        name = one.get("name")
        resources = {"resources": one["resources"]} if "resources" in one else {}
        yield from _touched(resources, mapping(known.get(name)), f"{CONTAINERS}{Item('name', str(name))}")


def _merged(path: str, old: Any, new: Any) -> Any:
    """As a strategic merge patch leaves it."""
    if new is None:
        return _ABSENT
    if isinstance(new, Mapping):
        kept = {name: value for name, value in mapping(old).items() if name not in new}
        merged = {name: _merged("", mapping(old).get(name, _ABSENT), value) for name, value in new.items()}
        return kept | {name: value for name, value in merged.items() if value is not _ABSENT}
    if path == SPREAD and isinstance(new, list):
        items = {_key(item): item for item in (old if isinstance(old, list) else [])}
        merged = {_key(item): _merged("", items.get(_key(item), {}), item) for item in new}
        return [*merged.values(), *(item for key, item in items.items() if key not in merged)]
    return new


def _read(document: Document, path: str) -> Any:
    value: Any = document
    for step in split(path):
        if isinstance(step, Item):
            items = value if isinstance(value, list) else []
            value = next((one for one in items if mapping(one).get(step.key) == step.value), _ABSENT)
        else:
            value = mapping(value).get(step, _ABSENT)
    return value


def _back(path: str, before: Any, after: Any) -> Any:
    """What a patch says to turn `after` into `before`."""
    if before is _ABSENT:
        return None
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [name for name in {**before, **after} if before.get(name, _ABSENT) != after.get(name, _ABSENT)]
        return {name: _back("", before.get(name, _ABSENT), after.get(name, _ABSENT)) for name in names}
    if path == SPREAD and isinstance(after, list):
        items = {_key(item): item for item in after}
        return [_back("", item, items.get(_key(item), {})) | {SPREAD_KEY: _key(item)} for item in before]
    return before


def _lost(before: Any, after: Any) -> str:
    """Why the constraints cannot be put back, if they cannot: a patch removes single ones only by a directive."""
    if before is _ABSENT or after is _ABSENT:
        return ""
    keys, added = [_key(item) for item in before], [_key(item) for item in after]
    if len({*keys}) < len(keys) or len({*added}) < len(added):
        return f"{SPREAD}: a patch cannot distinguish constraints that have the same {SPREAD_KEY}."
    more = next((key for key in added if key not in keys), None)
    return "" if more is None else f"{SPREAD}: a patch without directives cannot remove the constraint of {more}."


def _key(item: Any) -> Any:
    return mapping(item).get(SPREAD_KEY)


def _put(document: dict[str, Any], steps: tuple[str | Item, ...], value: Any) -> None:
    """Sets the value in a patch, and makes the objects and list items on the way."""
    at: Any = document
    for step, following in pairwise(steps):
        if isinstance(step, Item):
            found = next((one for one in at if one[step.key] == step.value), None)
            if found is None:
                at.append(found := {step.key: step.value})
            at = found
        else:
            at = at.setdefault(step, [] if isinstance(following, Item) else {})
    at[steps[-1]] = value


def _in_order(restored: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """The containers in the order of the patch, which is that of the object: an image has no order."""
    pod = mapping(_read(restored, POD))
    if "containers" in pod:
        wanted = [mapping(one).get("name") for one in _read(patch, CONTAINERS)]
        pod["containers"].sort(key=lambda one: wanted.index(one["name"]))
