"""INSERT and UPDATE of one row. The SQL of each set of columns is composed once; the ORM composes it for each row
(docs/adr/0018-raw-sql.md has the figures)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault


@dataclass(frozen=True, slots=True)
class FromNow:
    """A time that is computed when the row is written: the start of the statement by the database's clock, plus
    `seconds`. It may be used in place of a datetime in `insert` and `update`."""

    seconds: float


NOW = FromNow(0)
Shape = tuple[tuple[str, bool], ...]  # (field name, whether its value is a FromNow) per value


class LostRace(Exception):  # noqa: N818 - it is an outcome, not a mistake
    """Another process changed the row first. The caller has nothing to undo and nothing to do."""


def insert(row: Model) -> None:
    """Inserts the row, and reads the values that the database computed into it. Raises IntegrityError."""
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
    """Updates at most one row: the one whose fields equal `where` and that fulfils the SQL condition `also`. Returns
    the changes as they were stored, with a datetime for each FromNow; None if no row matched. Raises IntegrityError."""
    statement, times = _update(model, tuple(where), _shape(changes), also)
    stored = _execute(statement, [*_parameters(model, changes), *_parameters(model, where)])
    return None if stored is None else {**changes, **dict(zip(times, stored, strict=False))}


def _shape(values: Mapping[str, Any]) -> Shape:
    return tuple((name, isinstance(value, FromNow)) for name, value in values.items())


@lru_cache
def _insert(model: type[Model], given: Shape) -> tuple[str, list[str]]:
    """The statement, and the names of the fields that it returns."""
    columns, values = zip(*((_column(model, name), _value(from_now)) for name, from_now in given), strict=True)
    sent = {name for name, from_now in given if not from_now}
    returned = [field.name for field in model._meta.concrete_fields if field.name not in sent]
    returning = ", ".join(_column(model, name) for name in returned) or "true"
    into = f"{model._meta.db_table} ({', '.join(columns)})"
    return f"INSERT INTO {into} VALUES ({', '.join(values)}) RETURNING {returning}", returned  # noqa: S608 - our names


@lru_cache
def _update(model: type[Model], where: tuple[str, ...], changes: Shape, also: str) -> tuple[str, list[str]]:
    """The statement, and the names of the fields that it returns."""
    assignments = ", ".join(f"{_column(model, name)} = {_value(from_now)}" for name, from_now in changes)
    condition = " AND ".join([*(f"{_column(model, name)} = %s" for name in where), also])
    times = [name for name, from_now in changes if from_now]
    returning = ", ".join(_column(model, name) for name in times) or "true"
    return f"UPDATE {model._meta.db_table} SET {assignments} WHERE {condition} RETURNING {returning}", times  # noqa: S608


def _column(model: type[Model], name: str) -> str:
    return str(model._meta.get_field(name).column)  # type: ignore[union-attr]


def _value(from_now: bool) -> str:
    return "statement_timestamp() + %s" if from_now else "%s"


def _parameters(model: type[Model], values: Mapping[str, Any]) -> list[Any]:
    return [_parameter(model, name, value) for name, value in values.items()]


def _parameter(model: type[Model], name: str, value: Any) -> Any:
    if isinstance(value, FromNow):
        return timedelta(seconds=value.seconds)
    return model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]


def _execute(statement: str, parameters: list[Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        stored: tuple[Any, ...] | None = cursor.fetchone()
    return stored
