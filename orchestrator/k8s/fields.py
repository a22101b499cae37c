"""Fields of a Deployment as paths: `spec.replicas`, `metadata.labels["app.kubernetes.io/name"]`,
`spec.template.spec.containers[name=main].resources.limits.cpu`. From managedFields, from patches, from manifests. Pure.

Only the spec, the labels and the annotations are told; and of a pod only what an action may touch, as the rest would
be most of the memory.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

POD, CONTAINERS = "spec.template.spec", "spec.template.spec.containers"
LEFT_OUT_OF_PODS = frozenset({"volumes", "initContainers", "ephemeralContainers"})

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


def touched(patch: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The leaves of a strategic merge patch: what it sets or takes away. An empty object does neither."""
    for name, value in patch.items():
        if path == POD and name in LEFT_OUT_OF_PODS:
            continue
        here = path + _step(f"f:{name}") if path else name
        if isinstance(value, Mapping):
            yield from touched(value, here)
        elif here == CONTAINERS and isinstance(value, list):
            for container in map(mapping, value):
                resources = {"resources": container["resources"]} if "resources" in container else {}
                yield from touched(resources, here + _step("k:" + json.dumps({"name": container.get("name")})))
        else:
            yield sys.intern(here)


def overlapping(fields: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """Those fields that a change of `paths` changes: themselves, what lies below them, and what they are a part of."""
    paths = tuple(paths)
    return tuple(
        field
        for field in fields
        if any(_within(field, path) or (_within(path, field) and not field.endswith(MERGED)) for path in paths)
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """What is no object has no fields."""
    return value if isinstance(value, Mapping) else {}


def _owned(fields: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, inner in fields.items():
        if key == "." or (path == POD and key.removeprefix("f:") in LEFT_OUT_OF_PODS):
            continue
        here = path + _step(key)
        if path == CONTAINERS:
            resources = {name: value for name, value in mapping(inner).items() if name == "f:resources"}
            yield from _owned(resources, here)
        elif inner and isinstance(inner, Mapping):
            yield from _owned(inner, here)
        else:
            yield sys.intern(here)


@lru_cache(maxsize=4096)
def _step(key: str) -> str:
    """From a key of FieldsV1: `f:` a field, an item of a list `k:` by its keys, `v:` by its value, `i:` by index."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return f".{rest}" if rest.isidentifier() else f"[{json.dumps(rest)}]"
    with suppress(ValueError, AttributeError):
        rest = ",".join(f"{name}={value}" for name, value in json.loads(rest).items())
    return f"[{rest}]"


def _within(path: str, other: str) -> bool:
    return path.startswith(other) and path[len(other) : len(other) + 1] in ("", ".", "[")
