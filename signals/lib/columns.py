"""What the columns of tables that people edit are called, and what their values read as: the words of their forms, for
messages, differences, the audit and the history. A column that only another version of SmartOps has is named as well as
it can be."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.utils.text import capfirst


def noun(table: str) -> str:
    """What a row of the table is called."""
    model = _models().get(table)
    return table if model is None else str(model._meta.verbose_name)


def label(table: str, column: str) -> str:
    """“Max replicas”, “Cooldown (seconds)”."""
    field = _fields(table).get(column)
    return str(capfirst(column.replace("_", " ") if field is None else field.verbose_name))


def display(table: str, column: str, value: Any) -> str:
    """A value of a row, of a form, or as JSON has it: “not set”, “yes”, the name of a choice, the names of related
    rows, else as text."""
    if isinstance(value, QuerySet) or (isinstance(value, list) and any(isinstance(one, Model) for one in value)):
        value = ", ".join(sorted(map(str, value)))
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    field = _fields(table).get(column)
    choices: Mapping[Any, Any] = dict(field.flatchoices) if field is not None and field.choices else {}
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return str(choices.get(value, value))


@cache
def _models() -> Mapping[str, type[Model]]:
    models = apps.get_models(include_auto_created=True)
    return {one._meta.db_table: one for one in models if not one._meta.proxy}


@cache
def _fields(table: str) -> Mapping[str, Any]:
    """By the name of the column."""
    model = _models().get(table)
    fields = [] if model is None else model._meta.concrete_fields
    return {str(name): field for field in fields for name in (field.column, field.name)}
