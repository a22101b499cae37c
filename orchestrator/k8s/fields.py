"""The fields of a Deployment that managedFields or a manifest name, as paths (signals/proposals/paths.py). Pure.

Only the spec, the labels and the annotations have paths.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from signals.proposals.paths import CONTAINERS, LEFT_OUT_OF_PODS, POD, mapping, step, touched

# Objects that are merged, not replaced: who owns an empty one of them owns nothing that is put into it.
MERGED = (
    *(".labels", ".annotations", ".strategy", ".rollingUpdate", ".resources", ".limits", ".requests"),
    *(".affinity", ".nodeAffinity", ".podAffinity", ".podAntiAffinity"),
)


def owned(fields: Mapping[str, Any]) -> Iterator[str]:
    """The leaves of FieldsV1."""
    yield from _owned(mapping(fields.get("f:spec")), "spec")
    metadata = mapping(fields.get("f:metadata"))
    for name in ("labels", "annotations"):
        yield from _owned(mapping(metadata.get(f"f:{name}")), f"metadata.{name}")


def stated(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The leaves of a manifest."""
    metadata = mapping(manifest.get("metadata"))
    yield from touched({name: mapping(metadata.get(name)) for name in ("labels", "annotations")}, "metadata")
    yield from touched(mapping(manifest.get("spec")), "spec")


def overlapping(fields: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """Those fields that a change of `paths` changes: themselves, what lies below them, and what they are a part of."""
    paths = tuple(paths)
    return tuple(
        field
        for field in fields
        if any(_within(field, path) or (_within(path, field) and not field.endswith(MERGED)) for path in paths)
    )


def _owned(fields: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, inner in fields.items():
        if key == "." or (path == POD and key.removeprefix("f:") in LEFT_OUT_OF_PODS):
            continue
        here = path + step(key)
        if path == CONTAINERS:
            resources = {name: value for name, value in mapping(inner).items() if name == "f:resources"}
            yield from _owned(resources, here)
        elif inner and isinstance(inner, Mapping):
            yield from _owned(inner, here)
        else:
            yield sys.intern(here)


def _within(path: str, other: str) -> bool:
    return path.startswith(other) and path[len(other) : len(other) + 1] in ("", ".", "[")
