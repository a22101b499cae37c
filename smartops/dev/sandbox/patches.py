"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Pure: documents come in, a new document goes out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Json: TypeAlias = Any


class PatchError(ValueError):
    """The patch is not well formed."""


class PatchConflictError(ValueError):
    """The patch is well formed, but its path does not exist in the document."""


def merge_patch(document: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(document: Json, operations: Json) -> Json:
    """Applies all operations or none: raises PatchError or PatchConflictError."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("op"), str):
            raise PatchError("an operation is an object with op and path")
        document = _apply(document, operation)
    return document


def _apply(document: Json, operation: Mapping[str, Json]) -> Json:
    path = _pointer(operation, "path")
    match operation["op"]:
        case "add":
            return _add(document, path, _value(operation))
        case "remove":
            return _remove(document, path)
        case "replace":
            return _replace(document, path, _value(operation))
        case "move":
            source = _pointer(operation, "from")
            if path[: len(source)] == source and path != source:
                raise PatchError("a value cannot be moved into itself")
            return _add(_remove(document, source), path, _get(document, source))
        case "copy":
            return _add(document, path, _get(document, _pointer(operation, "from")))
        case "test":
            if not _equal(_get(document, path), _value(operation)):
                raise PatchConflictError(f"testing path {operation['path']} failed")
            return document
        case unknown:
            raise PatchError(f"unexpected operation {unknown}")


def _pointer(operation: Mapping[str, Json], member: str) -> list[str]:
    pointer = operation.get(member)
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise PatchError(f"{member} is a JSON pointer")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _value(operation: Mapping[str, Json]) -> Json:
    if "value" not in operation:
        raise PatchError(f"{operation['op']} needs a value")
    return operation["value"]


def _equal(one: Json, other: Json) -> bool:
    """In Python 1 == True and 0 == False; in JSON they differ."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _get(document: Json, path: Sequence[str]) -> Json:
    for token in path:
        document = document[_place(document, token)]
    return document


def _add(document: Json, path: Sequence[str], value: Json) -> Json:
    def add(parent: Json, token: str) -> Json:
        if isinstance(parent, list):
            at = len(parent) if token == "-" else _index(token, len(parent))  # noqa: S105
            return [*parent[:at], value, *parent[at:]]
        return {**parent, token: value}

    return _at(document, path, add) if path else value


def _replace(document: Json, path: Sequence[str], value: Json) -> Json:
    """A missing member is no error, as in the API server."""

    def replace(parent: Json, token: str) -> Json:
        if isinstance(parent, list):
            place = _place(parent, token)
            return [value if index == place else item for index, item in enumerate(parent)]
        return {**parent, token: value}

    return _at(document, path, replace) if path else value


def _remove(document: Json, path: Sequence[str]) -> Json:
    def remove(parent: Json, token: str) -> Json:
        place = _place(parent, token)
        if isinstance(parent, list):
            return [item for index, item in enumerate(parent) if index != place]
        return {key: item for key, item in parent.items() if key != place}

    return _at(document, path, remove) if path else None


def _at(document: Json, path: Sequence[str], change: Callable[[Json, str], Json]) -> Json:
    """The document with `change` applied to the parent of `path`; unchanged parts are shared."""
    if not isinstance(document, dict | list):
        raise PatchConflictError(f"there is nothing at {path[0]}")
    if len(path) == 1:
        return change(document, path[0])
    place = _place(document, path[0])
    inner = _at(document[place], path[1:], change)
    if isinstance(document, list):
        return [inner if index == place else item for index, item in enumerate(document)]
    return {**document, place: inner}


def _place(parent: Json, token: str) -> Any:
    """The key or index of an existing member."""
    if isinstance(parent, list):
        return _index(token, len(parent) - 1)
    if isinstance(parent, dict) and token in parent:
        return token
    raise PatchConflictError(f"the path {token} does not exist")


def _index(token: str, last: int) -> int:
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0"):
        raise PatchError(f"{token} is no index of a list")
    if int(token) > last:
        raise PatchConflictError(f"the index {token} is out of bounds")
    return int(token)
