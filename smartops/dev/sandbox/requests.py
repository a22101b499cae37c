"""Parses requests: path, query, body. Pure; raises ApiErrors."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from smartops.dev.sandbox import protobuf
from smartops.dev.sandbox.errors import ApiError, bad_request, unsupported_media_type
from smartops.dev.sandbox.managers import apply as apply_configuration
from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.options import refuse_options
from smartops.dev.sandbox.patches import PatchConflictError, PatchError, json_patch, merge_patch
from smartops.dev.sandbox.resources import BY_PATH, SCALE, Kind
from smartops.dev.sandbox.selectors import Predicate, field_selector, label_selector
from smartops.dev.sandbox.strategic import strategic_merge

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
REJECTED = "the server rejected our request due to an error in our request"
APPLY_PATCH = "application/apply-patch+yaml"
PATCHES: Mapping[str, Callable[[Any, Any], Any]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_merge,
}


@dataclass(frozen=True, slots=True)
class Target:
    """The resource of a path; an empty name means the collection."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def shown(self) -> Kind:
        """The kind that the path reads and writes."""
        return SCALE if self.subresource == "scale" else self.kind


@dataclass(frozen=True, slots=True)
class Request:
    """`query` has the last value of each name; media types come without parameters, `accept` as sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = JSON
    accept: str = ""
    user_agent: str = ""

    @property
    def watches(self) -> bool:
        """Whether this is a watch. A GET of one object never is."""
        target = parse(self.path) if self.query.get("watch") in ("1", "true") else None
        return self.method == "GET" and target is not None and not target.name

    @property
    def verb(self) -> str:
        """The method, or WATCH for a watch."""
        return "WATCH" if self.watches else self.method

    @property
    def wants_table(self) -> bool:
        return "as=Table" in self.accept

    @property
    def wants_objects(self) -> bool:
        """Whether the rows of a table carry whole objects."""
        return self.query.get("includeObject") == "Object"

    @property
    def selective(self) -> bool:
        return bool(self.query.get("labelSelector") or self.query.get("fieldSelector"))

    @property
    def manager(self) -> str:
        return self.query.get("fieldManager") or self.user_agent.partition("/")[0] or "unknown"

    @property
    def applies(self) -> bool:
        """Whether this is server-side apply."""
        return self.content_type == APPLY_PATCH

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    def refuse_options(self) -> None:
        """Raises 422 for an invalid query."""
        refuse_options(self.method, self.query, applies=self.applies, watches=self.watches)

    def number(self, name: str) -> int:
        """A number in the query; 0 if it is missing."""
        text = self.query.get(name) or "0"
        if not text.isdecimal():
            raise bad_request(f'{name}: Invalid value: "{text}"')
        return int(text)

    def selects(self, target: Target) -> Predicate:
        """Whether the object matches both selectors and the name in the path."""
        labels = label_selector(self.query.get("labelSelector", ""))
        fields = field_selector(target.kind, self.query.get("fieldSelector", ""))
        return lambda obj: labels(obj) and fields(obj) and (not target.name or obj["metadata"]["name"] == target.name)

    def document(self) -> Object:
        """The object in the body."""
        if self.content_type not in (JSON, YAML, PROTOBUF, APPLY_PATCH, ""):
            raise unsupported_media_type([JSON, YAML, PROTOBUF])
        found = _decode(self.body, self.content_type)
        if not isinstance(found, dict):
            raise bad_request("the object provided is unrecognized: it must be a JSON or YAML map")
        return found

    def patch(self) -> Callable[[Object], Object]:
        """The patch in the body as a function; it raises 400 or 422 if it cannot be applied."""
        apply = PATCHES.get(self.content_type)
        if self.applies:
            apply = partial(apply_configuration, manager=self.manager, force=self.query.get("force") == "true")
        if apply is None:
            raise unsupported_media_type([*PATCHES, APPLY_PATCH])
        patch = _decode(self.body, self.content_type)
        if not isinstance(patch, list if apply is json_patch else dict):
            raise bad_request("error decoding patch: it is not of the right type")

        def change(document: Object) -> Object:
            try:
                changed = apply(document, patch)
            except (PatchError, PatchConflictError) as error:
                if apply is json_patch:
                    raise ApiError(422, "Invalid", REJECTED) from error
                raise ApiError(500, "", str(error)) from error  # sic: so the API server answers a wrong strategic patch
            if not isinstance(changed, dict):
                raise ApiError(422, "Invalid", REJECTED)
            return changed

        return change


def parse(path: str) -> Target | None:
    """None if the path is not the path of a resource."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    kind = BY_PATH.get((group, version, rest[0])) if 1 <= len(rest) <= 3 else None
    if kind is None or (namespace and not kind.namespaced):
        return None
    name, subresource = [*rest[1:], "", ""][:2]
    if name and kind.namespaced and not namespace:
        return None
    return Target(kind, namespace, name, subresource)


def _no_number(name: str) -> None:
    raise ValueError(f"invalid character in JSON: {name}")


def _decode(body: bytes, content_type: str) -> object:
    if content_type == PROTOBUF:
        return protobuf.decode(body)
    try:
        return yaml.safe_load(body) if content_type.endswith("yaml") else json.loads(body, parse_constant=_no_number)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"error decoding the body: {error}") from error
