"""The large values that decisions are made of, field by field. Pure.

A preview calls these functions for each decision. A loop in Python over the fields, as `dataclasses.replace` is one,
takes nearly twice as long.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import compress
from operator import attrgetter, is_not
from typing import Any, TypeVar

from guardrails.types import Facts, Inputs, Limits, TargetFacts

Value = TypeVar("Value")  # one of Facts, Inputs, Limits and TargetFacts

_NAMES: Mapping[type, Sequence[str]] = {
    kind: [one.name for one in fields(kind)] for kind in (Facts, Inputs, Limits, TargetFacts)
}
_VALUES: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {kind: attrgetter(*names) for kind, names in _NAMES.items()}


def differing(one: Value, other: Value) -> list[str]:
    """The names of the fields that differ."""
    if one is other:
        return []
    names, values = _NAMES[type(one)], _VALUES[type(one)]
    were, become = values(one), values(other)
    others = compress(zip(names, were, become, strict=True), map(is_not, were, become))
    return [name for name, was, becomes in others if was != becomes]


def replaced(value: Value, **changes: Any) -> Value:
    """As `dataclasses.replace`, except that it ignores a name of no field."""
    kind = type(value)
    return kind(*map(changes.get, _NAMES[kind], _VALUES[kind](value)))
