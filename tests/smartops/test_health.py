from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import DjangoAssertNumQueries

from smartops.web import health
from tests.kit.api import Api


@pytest.fixture(autouse=True)
def not_seen_migrated_yet() -> Iterator[None]:
    health._migrated = False
    yield
    health._migrated = False


def test_alive_needs_no_database() -> None:
    answer = Api().get("/healthz")  # pytest refuses any query: this test has no database

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_with_a_migrated_database(db: None, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    answer = Api().get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "problem": None})

    with django_assert_num_queries(1):
        Api().get("/readyz")


def test_not_ready_before_the_migrations(db: None) -> None:
    MigrationRecorder(connection).record_unapplied("smartops", "0001_initial")

    answer = Api().get("/readyz")

    assert answer.status_code == 503
    assert "smartops.0001_initial" in answer.json()["problem"]


def test_not_ready_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise OperationalError("password=secret")

    monkeypatch.setattr(connection, "cursor", refuse)

    answer = Api().get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["problem"] == "The database does not answer: OperationalError."
