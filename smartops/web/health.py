"""Probes of the web process. `/healthz`: the process answers. `/readyz`: the database is writable and migrated."""

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from signals.lib.availability import exhausted
from signals.lib.migrations import unapplied_migrations
from smartops.database import Session

EXHAUSTED_FOR = 10.0  # seconds after a write that was refused for lack of disk or memory

_migrated = False


@require_safe
async def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    problem = _problem()
    return JsonResponse(
        {"status": "unavailable" if problem else "ok", "problem": problem}, status=503 if problem else 200
    )


def _problem() -> str | None:
    global _migrated
    try:
        if not (_is_writable() or _is_writable_anew()):
            return "The database is read-only: a standby, or a demoted primary. Check where DATABASE_URL leads."
        if error := exhausted(EXHAUSTED_FOR):
            return f"The database refused a write in the last {EXHAUSTED_FOR:.0f} s: {error}."
        if not _migrated:  # migrations are never reverted under a running process: one check is enough
            if missing := unapplied_migrations():
                return f"The database has unapplied migrations: {', '.join(missing)}. Run `manage.py migrate`."
            _migrated = True
    except Error as error:
        return f"The database is unavailable: {type(error.__cause__ or error).__name__}."
    return None


def _is_writable() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only')")
        return bool(cursor.fetchone()[0] == "off")


def _is_writable_anew() -> bool:
    """The sessions of the pool may be of a server that was demoted: their settings are those of their beginning."""
    if connection.in_atomic_block:
        return False
    if isinstance(connection.connection, Session):
        connection.connection.empty_pool()
    connection.close()
    return _is_writable()
