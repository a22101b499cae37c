"""Label and field selectors, and `spec.selector`: each becomes a predicate of an object."""

import re
from collections.abc import Callable
from typing import TypeAlias

from smartops.dev.sandbox.errors import bad_request
from smartops.dev.sandbox.names import LABEL_VALUE, QUALIFIED
from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.resources import EVENT, POD, Kind

Predicate: TypeAlias = Callable[[Object], bool]

FIELDS = {
    POD: {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"},
    EVENT: {
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion")),
        *("reason", "type", "source", "reportingComponent"),
    },
}
PATHS = {"source": "source.component"}  # where a field is not at its own name
FIELDS_OF_ALL = {"metadata.name", "metadata.namespace"}

_SET = re.compile(r"^(\S+)\s+(in|notin)\s*\(([^)]*)\)$")
_EQUALITY = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)$")
_COMMA = re.compile(r",(?![^(]*\))")


def everything(_: Object) -> bool:
    return True


def label_selector(text: str) -> Predicate:
    """`a=b,c!=d,e in (f,g),h,!i`; raises 400."""
    if not text.strip():
        return everything
    requirements = [_requirement(part.strip()) for part in _COMMA.split(text)]
    return lambda obj: all(holds(obj["metadata"].get("labels") or {}) for holds in requirements)


def field_selector(kind: Kind, text: str) -> Predicate:
    """`metadata.name=a,status.phase!=Running`; raises 400, also for fields that the kind does not support."""
    if not text.strip():
        return everything
    requirements = []
    for part in text.split(","):
        found = _EQUALITY.match(part.strip())
        if not found:
            raise bad_request(f"invalid field selector: {part}")
        field, operator, value = found.groups()
        if field not in FIELDS_OF_ALL | FIELDS.get(kind, set()):
            raise bad_request(f'field label not supported: "{field}"')
        requirements.append((PATHS.get(field, field).split("."), operator != "!=", value))
    return lambda obj: all((_field(obj, path) == value) is equal for path, equal, value in requirements)


def matches(selector: Object, labels: Object) -> bool:
    """`matchLabels` and `matchExpressions` of a spec."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        value, values = labels.get(expression.get("key")), expression.get("values") or []
        holds = {
            "In": value is not None and value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(expression.get("operator"), False):
            return False
    return True


def in_words(selector: Object) -> str:
    """A `spec.selector` as text, as in /scale and in tables."""
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for expression in selector.get("matchExpressions", ()):
        key, values = expression["key"], ",".join(sorted(expression.get("values", [])))
        parts.append(
            {"Exists": key, "DoesNotExist": f"!{key}"}.get(
                expression["operator"], f"{key} {expression['operator'].lower()} ({values})"
            )
        )
    return ",".join(parts)


def _requirement(part: str) -> Callable[[Object], bool]:
    values: set[str] | None
    if found := _SET.match(part):
        key, operator, values = found[1], found[2], {value.strip() for value in found[3].split(",")}
    elif found := _EQUALITY.match(part):
        key, operator, values = found[1], found[2], {found[3]}
    else:
        key, operator, values = part.removeprefix("!"), "notin" if part.startswith("!") else "in", None
    if not QUALIFIED.fullmatch(key) or not all(map(LABEL_VALUE.fullmatch, values or ())):
        raise bad_request(f"unable to parse requirement: {part}")
    wanted = operator not in ("notin", "!=")
    if values is None:
        return lambda labels: (key in labels) is wanted
    return lambda labels: (labels.get(key) in values) is wanted


def _field(obj: Object, path: list[str]) -> str:
    value: object = obj
    for step in path:
        value = value.get(step, "") if isinstance(value, dict) else ""
    return str(value)
