"""Plans are kept on the server only where the session is ours to keep."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import connection

from smartops.database import PREPARE_AFTER, Session, is_direct


def test_a_direct_connection_prepares_statements(db: None) -> None:
    connection.ensure_connection()

    assert isinstance(connection.connection, Session)
    assert connection.connection.prepare_threshold == PREPARE_AFTER


def test_a_connection_through_a_pooler_prepares_no_statements(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smartops.database.is_direct", lambda _: False)
    with Session.connect(database_url) as session:
        assert session.prepare_threshold is None


def test_a_pooler_is_recognized_by_the_process_id_that_it_sends(database_url: str) -> None:
    with psycopg.connect(database_url) as session:
        behind_a_pooler: Any = SimpleNamespace(info=SimpleNamespace(backend_pid=4711), execute=session.execute)

        assert is_direct(session)
        assert not is_direct(behind_a_pooler)
