"""The types of the API, from the Kubernetes client library: the fields of each object and their types."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from kubernetes.client import models

from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.resources import EVENT, Kind

JSON_TYPES = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
# Where a number may stand for a text such as "500m".
QUANTITIES = {
    "V1ResourceRequirements": ("limits", "requests"),
    "V1VolumeResourceRequirements": ("limits", "requests"),
    "V1PodSpec": ("overhead",),
    "V1EmptyDirVolumeSource": ("sizeLimit",),
    "V1ResourceFieldSelector": ("divisor",),
    "V1PersistentVolumeSpec": ("capacity",),
    "V1ResourceQuotaSpec": ("hard",),
    "V1LimitRangeItem": ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"),
    "V2MetricTarget": ("value", "averageValue"),
}
SCALARS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bytes": (str,),  # in base64
    "datetime": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "quantity": (str, int, float),
    "object": (str, int, dict, list),  # a number or a text, or anything at all
}
ZEROS = {"str": "", "bytes": "", "datetime": None, "bool": False, "int": 0, "float": 0, "quantity": "0", "object": None}
INT32 = range(-(2**31), 2**31)
_MANY = re.compile(r"(List|Dict)\[(?:str, )?(.+)\]")


class WrongTypeError(ValueError):
    """The object cannot be decoded; with the decoder's message."""


def decoded(kind: Kind, obj: Object) -> tuple[Object, list[str]]:
    """The object without unknown fields, and their paths. Raises WrongTypeError."""
    unknown: list[str] = []
    model = "CoreV1Event" if kind is EVENT else f"{kind.version.capitalize()}{kind.name}"
    known: Object = _decoded(obj, model, "", unknown)
    return known, unknown


def _decoded(value: Any, type_: str, path: str, unknown: list[str]) -> Any:
    many = _MANY.fullmatch(type_)
    expected = SCALARS.get(type_) or ((list,) if many and many[1] == "List" else (dict,))
    if value is None or (type_ in SCALARS and _is_a(value, expected)):
        return value
    if not _is_a(value, expected):
        found = JSON_TYPES.get(type(value), "value")
        raise WrongTypeError(f"json: cannot unmarshal {found} into Go struct field {path} of type {type_}")
    if isinstance(value, list) and many:
        return [
            _decoded(item, many[2], f"{path}[{index}]", unknown) for index, item in enumerate(_items(value, many[2]))
        ]
    prefix = f"{path}." if path else ""
    types = dict.fromkeys(value, many[2]) if many else _fields(type_)
    unknown += [f"{prefix}{name}" for name in value if name not in types]
    return {
        name: _decoded(item, types[name], f"{prefix}{name}", unknown) for name, item in value.items() if name in types
    }


def _items(values: list[Any], type_: str) -> list[Any]:
    """The items of a list. The API server decodes null as the zero value of the type: an empty object, 0, ""."""
    return [ZEROS.get(type_, {}) if item is None else item for item in values]


def _is_a(value: object, expected: tuple[type, ...]) -> bool:
    """In Python a bool is an int; in JSON it is not a number."""
    if isinstance(value, bool):
        return bool in expected
    return isinstance(value, expected) and (not isinstance(value, int) or value in INT32)


@cache
def _fields(model: str) -> Mapping[str, str]:
    """The type of each field."""
    described = getattr(models, model)
    types: dict[str, str] = {described.attribute_map[name]: of for name, of in described.openapi_types.items()}
    return types | {name: re.sub(r"\bstr(?=]|$)", "quantity", types[name]) for name in QUANTITIES.get(model, ())}
