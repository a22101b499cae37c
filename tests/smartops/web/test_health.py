from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg_pool import PoolTimeout
from pytest_django import DjangoAssertNumQueries

from smartops.web import health
from tests.kit.api import Api


@pytest.fixture(autouse=True)
def not_seen_migrated_yet() -> Iterator[None]:
    health._migrated = False
    yield
    health._migrated = False


def test_healthz_needs_no_database() -> None:
    answer = Api().get("/healthz")  # pytest refuses any query: this test has no database

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz_is_ok_with_a_migrated_database(db: None, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    answer = Api().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "problem": None})

    with django_assert_num_queries(1):
        Api().get("/readyz")


def test_readyz_names_unapplied_migrations(db: None) -> None:
    MigrationRecorder(connection).record_unapplied("smartops", "0002_roles")

    answer = Api().get("/readyz")

    assert answer.status_code == 503
    assert "smartops.0002_roles" in answer.json()["problem"]


@pytest.mark.parametrize(("cause", "named"), [(None, "OperationalError"), (PoolTimeout("password=x"), "PoolTimeout")])
def test_readyz_names_the_class_of_a_database_error_and_not_its_message(
    monkeypatch: pytest.MonkeyPatch, cause: Exception | None, named: str
) -> None:
    def refuse() -> Any:
        raise OperationalError("password=secret") from cause

    monkeypatch.setattr(connection, "cursor", refuse)

    answer = Api().get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["problem"] == f"The database is unavailable: {named}."
