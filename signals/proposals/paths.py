"""Fields of a Deployment as paths: `spec.replicas`, `metadata.labels["app.kubernetes.io/name"]`,
`spec.template.spec.containers[name=main].resources.limits.cpu`. Pure.

Of a pod only the fields that an action may change have a path: the rest would be most of the memory.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

REPLICAS = "spec.replicas"
POD, CONTAINERS = "spec.template.spec", "spec.template.spec.containers"
LEFT_OUT_OF_PODS = frozenset({"volumes", "initContainers", "ephemeralContainers"})


def leaves(patch: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a strategic merge patch with their values: what it sets, or removes (None). An empty object does
    neither."""
    for name, value in patch.items():
        if path == POD and name in LEFT_OUT_OF_PODS:
            continue
        here = path + step(f"f:{name}") if path else name
        if isinstance(value, Mapping):
            yield from leaves(value, here)
        elif here == CONTAINERS and isinstance(value, list):
            for container in map(mapping, value):
                resources = {"resources": container["resources"]} if "resources" in container else {}
                yield from leaves(resources, here + step("k:" + json.dumps({"name": container.get("name")})))
        else:
            yield sys.intern(here), value


def touched(patch: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The paths of the leaves of a strategic merge patch."""
    return (here for here, _ in leaves(patch, path))


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, Mapping) else {}


@lru_cache(maxsize=4096)
def step(key: str) -> str:
    """One step of a path, from a key of FieldsV1: `f:` a field, an item of a list `k:` by its keys, `v:` by its value,
    `i:` by index."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return f".{rest}" if rest.isidentifier() else f"[{json.dumps(rest)}]"
    with suppress(ValueError, AttributeError):
        rest = ",".join(f"{name}={value}" for name, value in json.loads(rest).items())
    return f"[{rest}]"
