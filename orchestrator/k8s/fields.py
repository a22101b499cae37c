"""Fields of a Deployment as paths: `spec.replicas`, `metadata.labels["app.kubernetes.io/name"]`,
`spec.template.spec.containers[name=main].resources.limits.cpu`. From managedFields, from patches, from manifests. Pure.

Only the spec, the labels and the annotations are included. Of the pod template only what an action may change is: the
rest would take most of the memory.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

POD, CONTAINERS = "spec.template.spec", "spec.template.spec.containers"
LEFT_OUT_OF_PODS = frozenset({"volumes", "initContainers", "ephemeralContainers"})

# Objects that are merged, not replaced: the owner of an empty one does not own what is added to it.
MERGED = (
    *(".labels", ".annotations", ".strategy", ".rollingUpdate", ".resources", ".limits", ".requests"),
    *(".affinity", ".nodeAffinity", ".podAffinity", ".podAntiAffinity"),
)


def owned(fields: Mapping[str, Any]) -> list[str]:
    """The leaves of FieldsV1."""
    found: list[str] = []
    metadata = mapping(fields.get("f:metadata"))
    _collect(found, mapping(fields.get("f:spec")), "spec")
    _collect(found, mapping(metadata.get("f:labels")), "metadata.labels")
    _collect(found, mapping(metadata.get("f:annotations")), "metadata.annotations")
    return found


def stated(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The leaves of a manifest."""
    metadata = mapping(manifest.get("metadata"))
    yield from touched({name: mapping(metadata.get(name)) for name in ("labels", "annotations")}, "metadata")
    yield from touched(mapping(manifest.get("spec")), "spec")


def touched(patch: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The leaves of a strategic merge patch: what it sets or removes. An empty object does neither."""
    for name, value in patch.items():
        if path == POD and name in LEFT_OUT_OF_PODS:
            continue
        here = _join(path, f"f:{name}") if path else name
        if isinstance(value, Mapping):
            yield from touched(value, here)
        elif here == CONTAINERS and isinstance(value, list):
            for container in map(mapping, value):
                resources = {"resources": container["resources"]} if "resources" in container else {}
                yield from touched(resources, _join(here, "k:" + json.dumps({"name": container.get("name")})))
        else:
            yield here


def overlapping(fields: Iterable[str], paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `fields` that a change of `paths` changes: one of them, a part of one, or an object that holds one."""
    paths = tuple(paths)
    return tuple(
        field
        for field in fields
        if any(_within(field, path) or (_within(path, field) and not field.endswith(MERGED)) for path in paths)
    )


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, (dict, Mapping)) else {}  # dict first: the check for Mapping is slow


def _collect(found: list[str], fields: Mapping[str, Any], path: str) -> None:
    for key, inner in fields.items():
        if key == "." or (path == POD and key.removeprefix("f:") in LEFT_OUT_OF_PODS):
            continue
        here = _join(path, key)
        if path == CONTAINERS:
            resources = {name: value for name, value in mapping(inner).items() if name == "f:resources"}
            _collect(found, resources, here)
        elif inner and isinstance(inner, (dict, Mapping)):
            _collect(found, inner, here)
        else:
            found.append(here)


@lru_cache(maxsize=4096)
def _join(path: str, key: str) -> str:
    """The path of a key of FieldsV1 below `path`. A key is `f:` with a field, or an item of a list: `k:` with its keys,
    `v:` with its value, `i:` with its index."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return sys.intern(f"{path}.{rest}" if rest.isidentifier() else f"{path}[{json.dumps(rest)}]")
    with suppress(ValueError, AttributeError):
        rest = ",".join(f"{name}={value}" for name, value in json.loads(rest).items())
    return sys.intern(f"{path}[{rest}]")


def _within(path: str, other: str) -> bool:
    return path.startswith(other) and path[len(other) : len(other) + 1] in ("", ".", "[")
