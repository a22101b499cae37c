"""INSERT and UPDATE of one row, composed once for each set of columns: composing them anew for every row, as the ORM
does, was most of what an action cost.

A timedelta stands for a time, counted from the database's clock.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

NOW = timedelta(0)
Shape = tuple[tuple[str, bool], ...]  # of some values: the field's name, whether its time counts from now


class LostRace(Exception):  # noqa: N818 - it is an outcome, not a mistake
    """Another process changed the row first. The caller has nothing to undo and nothing to do."""


def insert(row: Model) -> None:
    """What is left to the database is read back into the row."""
    values = {field.name: getattr(row, field.attname) for field in row._meta.concrete_fields}
    given = {name: value for name, value in values.items() if not isinstance(value, DatabaseDefault)}
    statement, returned = _insert(type(row), _shape(given))
    stored = _execute(statement, _parameters(type(row), given))
    for name, value in zip(returned, stored or (), strict=False):
        setattr(row, name, value)
    row._state.adding = False


def update(
    model: type[Model], where: Mapping[str, Any], changes: Mapping[str, Any], also: str = "true"
) -> dict[str, Any] | None:
    """The changes as they were stored, times included; None where no row is as `where`, and the condition `also`, say.
    One row at most can be."""
    statement, times = _update(model, tuple(where), _shape(changes), also)
    stored = _execute(statement, [*_parameters(model, changes), *_parameters(model, where)])
    return None if stored is None else {**changes, **dict(zip(times, stored, strict=False))}


def _shape(values: Mapping[str, Any]) -> Shape:
    return tuple((name, isinstance(value, timedelta)) for name, value in values.items())


@lru_cache
def _insert(model: type[Model], given: Shape) -> tuple[str, list[str]]:
    """The statement, and the names of what it returns."""
    columns, values = zip(*((_column(model, name), _value(relative)) for name, relative in given), strict=True)
    named = {name for name, relative in given if not relative}
    returned = [field.name for field in model._meta.concrete_fields if field.name not in named]
    returning = ", ".join(_column(model, name) for name in returned) or "true"
    into = f"{model._meta.db_table} ({', '.join(columns)})"
    return f"INSERT INTO {into} VALUES ({', '.join(values)}) RETURNING {returning}", returned  # noqa: S608 - our names


@lru_cache
def _update(model: type[Model], where: tuple[str, ...], changes: Shape, also: str) -> tuple[str, list[str]]:
    """The statement, and the names of what it returns."""
    assignments = ", ".join(f"{_column(model, name)} = {_value(relative)}" for name, relative in changes)
    condition = " AND ".join([*(f"{_column(model, name)} = %s" for name in where), also])
    times = [name for name, relative in changes if relative]
    returning = ", ".join(_column(model, name) for name in times) or "true"
    return f"UPDATE {model._meta.db_table} SET {assignments} WHERE {condition} RETURNING {returning}", times  # noqa: S608


def _column(model: type[Model], name: str) -> str:
    return str(model._meta.get_field(name).column)  # type: ignore[union-attr]


def _value(relative: bool) -> str:
    return "statement_timestamp() + %s" if relative else "%s"


def _parameters(model: type[Model], values: Mapping[str, Any]) -> list[Any]:
    return [
        value if isinstance(value, timedelta) else model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]
        for name, value in values.items()
    ]


def _execute(statement: str, parameters: list[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        stored: tuple[Any, ...] | None = cursor.fetchone()
    return stored
