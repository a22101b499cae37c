"""What probes ask. Alive: this process answers. Ready: it can do its work."""

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
        if not _migrated:  # a database is never migrated backwards under a running process: once is enough
            if missing := unapplied_migrations():
                return f"The database lacks migrations: {', '.join(missing)}."
            _migrated = True
    except DatabaseError as error:
        return f"The database does not answer: {type(error).__name__}."
    return None
