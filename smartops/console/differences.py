"""What differs between two versions of a row that people set, in the words of its form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.utils.text import capfirst

from signals.lib import columns
from signals.lib.triggers import volatile

INTERNAL = {"id", "version", "updated_at"}  # columns that no person sets
Columns = Mapping[str, Any]
Words = Mapping[str, Callable[[Any], str]]


@dataclass(frozen=True, slots=True)
class Line:
    """Of a difference. `sign`: “+” or “-”."""

    sign: str
    text: str


def column_values(row: Model) -> dict[str, Any]:
    internal = volatile(type(row))
    return {f.name: f.value_from_object(row) for f in row._meta.concrete_fields if f.name not in internal}


def difference(model: type[Model], words: Words, before: Columns | None, after: Columns | None) -> list[Line]:
    """Column by column, in the order of the model. A column that only another version of SmartOps has is the last.
    `words`: by column, a value as a sentence."""
    was, becomes = before or {}, after or {}
    own = (field.name for field in model._meta.concrete_fields)
    found = []
    for name in dict.fromkeys([*own, *was, *becomes]):
        old, new = was.get(name), becomes.get(name)
        if name not in INTERNAL and old != new:
            signed = [(sign, value) for sign, value in (("-", old), ("+", new)) if value not in (None, "")]
            found += [Line(sign, _described(model, words, name, value)) for sign, value in signed]
    return found


def _described(model: type[Model], words: Words, name: str, value: Any) -> str:
    """“At most 4 replicas”, “Symptom match: is”."""
    if name in words:
        return str(capfirst(words[name](value)))
    return f"{columns.label(model._meta.db_table, name)}: {columns.display(model._meta.db_table, name, value)}"
