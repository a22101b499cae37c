"""Which errors of the database blame nobody: it is unavailable, or another transaction was in the way.

The one classification of all processes. The API answers such an error with 503, the control loop keeps the rows due,
the log has one line for it, and the pool discards the sessions that were opened before. Every other error is a defect,
or the fault of one row.
"""

from time import monotonic

import psycopg
from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from signals.lib.redaction import redacted

# Parameters of libpq for every connection. A server that does not answer, or a peer that is gone without a word, is an
# error after at most 5 s while connecting, and 30 s later.
DEADLINES = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

# Beginnings of SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE = (
    "08",  # the connection failed
    "25006",  # read-only: a standby, or a primary that was demoted
    "25P03",  # the session idled in a transaction for too long, and was ended
    "25P04",  # the transaction took too long, and its session was ended
    "28",  # the login was refused
    "3D000",  # the database does not exist
    "53",  # the disk or the memory is full, or there are too many connections
    "57P",  # shutdown, crash, not accepting connections yet
    "58",  # an error of the server's operating system
)
_LOCKED = "55P03"
_CONFLICT = (
    "40",  # a deadlock, or a serialization failure
    _LOCKED,  # a lock was not available in time
    "57014",  # the statement was cancelled
)
_EXHAUSTED = "53"
_OPEN = ("25006", _EXHAUSTED)

_lost_at = _exhausted_at = float("-inf")
_exhausted_by = ""


def is_unavailable(error: BaseException) -> bool:
    """Whether the database refuses every statement. `error` is of psycopg, or Django's with that one as its cause.
    Errors without an SQLSTATE are those of the client: no connection, no answer, no place in the pool."""
    state = _sqlstate(error)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(_UNAVAILABLE)


def is_repeatable(error: BaseException) -> bool:
    """Whether the same statements may succeed if they are sent again. An unavailable database is one such case."""
    return is_unavailable(error) or (_sqlstate(error) or "").startswith(_CONFLICT)


def is_locked(error: BaseException) -> bool:
    """Whether another transaction held a lock for longer than this one waits."""
    return _sqlstate(error) == _LOCKED


def keeps_session(error: BaseException) -> bool:
    """Whether an unavailable server leaves the session open, but refuses its statements."""
    return (_sqlstate(error) or "").startswith(_OPEN)


def loses_session(error: BaseException) -> bool:
    """Whether only a session was lost: another one may succeed at once."""
    return is_unavailable(error) and not keeps_session(error) and not isinstance(_cause(error), PoolTimeout)


def describe(error: BaseException) -> str:
    """The class of the error and the first line of its message, without the secrets of a URL."""
    cause = _cause(error)
    message = redacted(next(iter(str(cause).splitlines()), ""))
    return f"{type(cause).__name__}: {message}" if message else type(cause).__name__


def record(error: psycopg.Error) -> None:
    """A session was refused service: every session that was opened before is suspect."""
    global _lost_at, _exhausted_at, _exhausted_by
    _lost_at = monotonic()
    if (_sqlstate(error) or "").startswith(_EXHAUSTED):
        _exhausted_at, _exhausted_by = _lost_at, type(error).__name__


def lost_since(moment: float) -> bool:
    """Whether this process was refused service after `moment`, of the monotonic clock."""
    return _lost_at > moment


def exhausted(within: float) -> str:
    """The class of the error if the server lacked disk or memory in the last `within` seconds, else "". Nothing but a
    refused write shows that a disk is full."""
    return _exhausted_by if monotonic() - _exhausted_at < within else ""


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error.__cause__, psycopg.Error) else error


def _sqlstate(error: BaseException) -> str | None:
    return getattr(_cause(error), "sqlstate", None)
