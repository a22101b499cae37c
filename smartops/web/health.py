"""Probes of the web process. `/healthz`: the process answers. `/readyz`: the database is available and migrated."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from signals.lib.migrations import unapplied_migrations

_migrated = False


@require_GET
async def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    return JsonResponse({"status": "ok"})


@require_GET
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    problem = _problem()
    return JsonResponse(
        {"status": "unavailable" if problem else "ok", "problem": problem}, status=503 if problem else 200
    )


def _problem() -> str | None:
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:  # migrations are never reverted under a running process: one check is enough
            if missing := unapplied_migrations():
                return f"The database has unapplied migrations: {', '.join(missing)}. Run `manage.py migrate`."
            _migrated = True
    except DatabaseError as error:
        return f"The database is unavailable: {type(error.__cause__ or error).__name__}."
    return None
