"""The LISTEN connection of a process, and what it does without one."""

import os
from threading import Event

import psycopg
import pytest

from signals.lib import notifications


@pytest.mark.parametrize("error", [psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction])
def test_without_a_connection_the_caller_polls_and_is_still_woken(
    monkeypatch: pytest.MonkeyPatch, error: type[psycopg.Error]
) -> None:
    """A standby refuses LISTEN with an InternalError. An answer of the cluster does not wait for the next connect."""

    def refuse() -> None:
        raise error("cannot execute LISTEN during recovery")

    monkeypatch.setattr(notifications, "connect", refuse)
    monkeypatch.setattr(notifications, "PAUSE", 3600.0)
    reader, writer = os.pipe()
    passes = notifications.listen(Event(), timeout=lambda: 3600.0, wake_fd=reader)

    assert next(passes) == []
    os.write(writer, b"1")
    assert next(passes) == []
    os.close(reader)
    os.close(writer)
