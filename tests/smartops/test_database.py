"""Plans are kept on the server only where the session is ours to keep."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import connection

from smartops.database import PREPARE_AFTER, Session, is_direct


def test_django_keeps_plans_where_it_talks_to_the_server_itself(db: None) -> None:
    connection.ensure_connection()

    assert isinstance(connection.connection, Session)
    assert connection.connection.prepare_threshold == PREPARE_AFTER


def test_a_session_behind_a_pooler_keeps_none(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smartops.database.is_direct", lambda _: False)
    with Session.connect(database_url) as session:
        assert session.prepare_threshold is None


def test_a_pooler_is_known_by_the_process_id_that_it_greets_with(database_url: str) -> None:
    with psycopg.connect(database_url) as session:
        behind_a_pooler: Any = SimpleNamespace(info=SimpleNamespace(backend_pid=4711), execute=session.execute)

        assert is_direct(session)
        assert not is_direct(behind_a_pooler)
