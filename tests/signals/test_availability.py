"""Which errors of the database blame nobody: one table, with an error of each kind."""

from typing import Any

import psycopg
import pytest
from django import db
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout

from signals.lib import availability
from signals.lib.availability import describe, is_repeatable, is_unavailable, loses_session

UNAVAILABLE = [
    psycopg.OperationalError("the connection is closed"),
    psycopg.OperationalError("connection failed: Connection refused"),
    psycopg.OperationalError("failed to resolve host 'db': Name or service not known"),
    psycopg.InterfaceError("the cursor is closed"),
    PoolTimeout("couldn't get a connection after 5.00 sec"),
    PoolClosed("the pool is closed"),
    errors.ConnectionException(),
    errors.ConnectionDoesNotExist(),
    errors.ConnectionFailure(),
    errors.SqlclientUnableToEstablishSqlconnection(),
    errors.ProtocolViolation(),
    errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"),
    errors.IdleInTransactionSessionTimeout(),
    errors.InvalidAuthorizationSpecification(),
    errors.InvalidPassword(),
    errors.InvalidCatalogName(),
    errors.InsufficientResources(),
    errors.DiskFull("could not extend file: No space left on device"),
    errors.OutOfMemory(),
    errors.TooManyConnections(),
    errors.ConfigurationLimitExceeded(),
    errors.AdminShutdown(),
    errors.CrashShutdown(),
    errors.CannotConnectNow(),
    errors.DatabaseDropped(),
    errors.IdleSessionTimeout(),
    errors.SystemError(),
    errors.IoError(),
]
CONFLICTS = [
    errors.SerializationFailure(),
    errors.DeadlockDetected(),
    errors.TransactionRollback(),
    errors.LockNotAvailable(),
    errors.QueryCanceled(),
]
FAULTS = [
    errors.UniqueViolation(),
    errors.CheckViolation(),
    errors.InsufficientPrivilege(),
    errors.UndefinedTable(),
    errors.InFailedSqlTransaction(),
    errors.NoActiveSqlTransaction(),
    errors.NumericValueOutOfRange(),
    errors.UntranslatableCharacter(),
    errors.ProgramLimitExceeded("index row size 2712 exceeds btree version 4 maximum 2704"),
    errors.StatementTooComplex(),
    errors.DataCorrupted(),
    errors.InternalError_(),
    errors.RaiseException(),
    ValueError("a defect"),
]


def by_django(error: Exception) -> Exception:
    """As Django raises it."""
    kinds = ["OperationalError", "InterfaceError", "IntegrityError", "DataError", "InternalError", "ProgrammingError"]
    kind = next((one for one in kinds if isinstance(error, getattr(psycopg, one))), None)
    if kind is None:
        return error
    wrapped: Exception = getattr(db, kind)(*error.args)
    wrapped.__cause__ = error
    return wrapped


def named(error: Exception) -> str:
    return type(error).__name__


@pytest.mark.parametrize("wrap", [lambda error: error, by_django], ids=["psycopg", "Django"])
@pytest.mark.parametrize("error", UNAVAILABLE, ids=named)
def test_an_unavailable_database_is_recognized(error: Exception, wrap: Any) -> None:
    assert (is_unavailable(wrap(error)), is_repeatable(wrap(error))) == (True, True)


@pytest.mark.parametrize("wrap", [lambda error: error, by_django], ids=["psycopg", "Django"])
@pytest.mark.parametrize("error", CONFLICTS, ids=named)
def test_a_conflict_may_be_repeated_on_the_same_session(error: Exception, wrap: Any) -> None:
    assert (is_unavailable(wrap(error)), is_repeatable(wrap(error))) == (False, True)


@pytest.mark.parametrize("wrap", [lambda error: error, by_django], ids=["psycopg", "Django"])
@pytest.mark.parametrize("error", FAULTS, ids=named)
def test_a_fault_of_a_statement_or_a_row_is_no_outage(error: Exception, wrap: Any) -> None:
    assert (is_unavailable(wrap(error)), is_repeatable(wrap(error))) == (False, False)


@pytest.mark.parametrize("error", [db.OperationalError("gone"), db.InterfaceError("connection already closed")])
def test_an_error_of_django_alone_is_one_of_the_connection(error: Exception) -> None:
    assert is_unavailable(error)


@pytest.mark.parametrize("error", UNAVAILABLE, ids=named)
def test_another_session_may_succeed_where_one_was_lost(error: Exception) -> None:
    refused = ("ReadOnlySqlTransaction", "DiskFull", "OutOfMemory", "InsufficientResources", "TooManyConnections")
    lasting = (*refused, "ConfigurationLimitExceeded", "PoolTimeout")

    assert loses_session(by_django(error)) == (named(error) not in lasting)


def test_a_description_is_one_line() -> None:
    message = "connection failed: FATAL: the database system is starting up\nMultiple connection attempts failed"

    assert describe(by_django(psycopg.OperationalError(message))) == f"OperationalError: {message.splitlines()[0]}"
    assert describe(errors.DiskFull()) == "DiskFull"


def test_a_refusal_is_remembered_for_the_sessions_that_were_opened_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(availability, "monotonic", lambda: now)
    for name in ("_lost_at", "_exhausted_at"):
        monkeypatch.setattr(availability, name, float("-inf"))
    assert not availability.lost_since(0.0)

    availability.record(errors.ReadOnlySqlTransaction())
    assert (availability.lost_since(99.0), availability.lost_since(100.0)) == (True, False)
    assert availability.exhausted(10.0) == ""

    availability.record(errors.DiskFull())
    assert availability.exhausted(10.0) == "DiskFull"
    now = 110.0
    assert availability.exhausted(10.0) == ""
