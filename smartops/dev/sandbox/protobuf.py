"""Decodes the protobuf messages that kubectl sends: `kubectl create deployment`, `namespace`, `configmap` …, `auth
can-i` and `autoscale` support no other format. Responses are always JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smartops.dev.sandbox.errors import ApiError, bad_request

MAGIC = b"k8s\x00"


@dataclass(frozen=True, slots=True)
class Field:
    """`of`: string, integer, boolean, bytes, map (of strings), or a message of `MESSAGES`."""

    name: str
    of: str = "string"
    repeated: bool = False


def _strings(*names: str) -> dict[int, Field]:
    return {number: Field(name) for number, name in enumerate(names, start=1)}


def _object(**more: str) -> dict[int, Field]:
    """A message with metadata, then the named fields with their types."""
    fields = {"metadata": "ObjectMeta"} | more
    return {number: Field(name, of) for number, (name, of) in enumerate(fields.items(), start=1)}


MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "Unknown": {1: Field("type", "TypeMeta"), 2: Field("raw", "bytes")},
    "TypeMeta": _strings("apiVersion", "kind"),
    "ObjectMeta": {
        **_strings("name", "generateName", "namespace"),
        11: Field("labels", "map"),
        12: Field("annotations", "map"),
        14: Field("finalizers", repeated=True),
    },
    "Namespace": _object(),
    "ServiceAccount": _object(),
    "ConfigMap": _object(data="map"),
    "Deployment": _object(spec="DeploymentSpec"),
    "DeploymentSpec": {
        1: Field("replicas", "integer"),
        2: Field("selector", "LabelSelector"),
        3: Field("template", "PodTemplate"),
        5: Field("minReadySeconds", "integer"),
        6: Field("revisionHistoryLimit", "integer"),
        7: Field("paused", "boolean"),
        9: Field("progressDeadlineSeconds", "integer"),
    },
    "LabelSelector": {1: Field("matchLabels", "map")},
    "PodTemplate": _object(spec="PodSpec"),
    "PodSpec": {2: Field("containers", "Container", repeated=True), 3: Field("restartPolicy")},
    "Container": {
        **_strings("name", "image"),
        3: Field("command", repeated=True),
        4: Field("args", repeated=True),
        6: Field("ports", "Port", repeated=True),
        7: Field("env", "Variable", repeated=True),
    },
    "Port": {1: Field("name"), 3: Field("containerPort", "integer"), 4: Field("protocol")},
    "Variable": _strings("name", "value"),
    "HorizontalPodAutoscaler": _object(spec="AutoscalerSpec"),
    "AutoscalerSpec": {
        1: Field("scaleTargetRef", "Reference"),
        2: Field("minReplicas", "integer"),
        3: Field("maxReplicas", "integer"),
    },
    "Reference": _strings("kind", "name", "apiVersion"),
    "SelfSubjectAccessReview": _object(spec="AccessReviewSpec"),
    "AccessReviewSpec": {
        1: Field("resourceAttributes", "ResourceAttributes"),
        2: Field("nonResourceAttributes", "Path"),
    },
    "ResourceAttributes": _strings("namespace", "verb", "group", "version", "resource", "subresource", "name"),
    "Path": _strings("path", "verb"),
}


def decode(body: bytes) -> dict[str, Any]:
    """The object as JSON. Raises 400 for invalid protobuf, 415 for messages that are not listed above."""
    try:
        if not body.startswith(MAGIC):
            raise ValueError("wrong beginning")
        envelope = _message("Unknown", body[len(MAGIC) :])
        return envelope["type"] | _message(envelope["type"]["kind"], envelope["raw"])  # type: ignore[no-any-return]
    except (KeyError, IndexError, ValueError) as error:
        raise bad_request(f"the body is not in the API's protobuf format: {error!r}") from error


def _message(name: str, data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, raw in _values(data):
        field = MESSAGES.get(name, {}).get(number)
        if field is None and not _is_blank(raw):
            message = f"the sandbox cannot read field {number} of {name} in protobuf; send JSON"
            raise ApiError(415, "UnsupportedMediaType", message)
        if field is None:
            continue
        if field.of == "map":
            entry = dict(_values(_bytes(raw)))
            found.setdefault(field.name, {})[_bytes(entry[1]).decode()] = _bytes(entry.get(2, b"")).decode()
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(field.of, raw))
        elif raw != b"":
            found[field.name] = _value(field.of, raw)
    return found


def _value(of: str, raw: int | bytes) -> Any:
    match of:
        case "integer":
            return raw
        case "boolean":
            return bool(raw)
        case "bytes":
            return raw
        case "string":
            return _bytes(raw).decode()
    return _message(of, _bytes(raw))


def _is_blank(raw: int | bytes) -> bool:
    """Zero, empty, or a message of such values: protobuf includes them, JSON omits them."""
    try:
        return not raw or (isinstance(raw, bytes) and all(_is_blank(inner) for _, inner in _values(raw)))
    except (IndexError, ValueError):
        return False


def _bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ValueError("a number where there should be none")
    return raw


def _values(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields field numbers and values; the wire format has integers and bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 0:
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
        elif tag & 7 == 2 and at + value <= len(data):
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError("unknown wire type, or cut off")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
