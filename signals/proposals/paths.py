"""Fields of a workload as paths: `spec.replicas`, `metadata.labels["app.kubernetes.io/name"]`,
`spec.template.spec.containers[name=main].resources.limits.cpu`. Pure.

Of a pod only the fields that an action may change have a path: the rest would be most of the memory.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

REPLICAS, TEMPLATE = "spec.replicas", "spec.template"
POD, CONTAINERS = "spec.template.spec", "spec.template.spec.containers"
LEFT_OUT_OF_PODS = frozenset({"volumes", "initContainers", "ephemeralContainers"})


def leaves(patch: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a strategic merge patch with their values: what it sets, or removes (None). An empty object does
    neither."""
    for name, value in patch.items():
        if path == POD and name in LEFT_OUT_OF_PODS:
            continue
        here = join(path, f"f:{name}") if path else name
        if isinstance(value, Mapping):
            yield from leaves(value, here)
        elif here == CONTAINERS and isinstance(value, list):
            for container in map(mapping, value):
                resources = {"resources": container["resources"]} if "resources" in container else {}
                yield from leaves(resources, join(here, "k:" + json.dumps({"name": container.get("name")})))
        else:
            yield here, value


def touched(patch: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The paths of the leaves of a strategic merge patch."""
    return (here for here, _ in leaves(patch, path))


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, (dict, Mapping)) else {}  # dict first: the check for Mapping is slow


@dataclass(frozen=True, slots=True)
class Item:
    """The item of a list that has this value under a key of the list."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"[{self.key}={self.value}]"


_STEP = re.compile(
    r"(?:^|\.)(?P<field>[^.\[]+)"
    r'|\[(?P<name>"(?:[^"\\]|\\.)*")\]'
    r"|\[(?P<key>[A-Za-z]+)=(?P<value>[^\]]*)\]"
)


@lru_cache(maxsize=4096)
def split(path: str) -> tuple[str | Item, ...]:
    """The names of the fields, and the items of lists, that lead to the path."""
    return tuple(
        Item(step["key"], step["value"]) if step["key"] else json.loads(step["name"]) if step["name"] else step["field"]
        for step in _STEP.finditer(path)
    )


@lru_cache(maxsize=4096)
def join(path: str, key: str) -> str:
    """The path of a key of FieldsV1 below `path`. A key is `f:` with a field, or an item of a list: `k:` with its keys,
    `v:` with its value, `i:` with its index."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return sys.intern(f"{path}.{rest}" if rest.isidentifier() else f"{path}[{json.dumps(rest)}]")
    with suppress(ValueError, AttributeError):
        rest = ",".join(f"{name}={value}" for name, value in json.loads(rest).items())
    return sys.intern(f"{path}[{rest}]")
