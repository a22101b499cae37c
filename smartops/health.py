"""What probes ask. Alive: this process answers. Ready: it can do its work."""

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

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
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
            if missing:
                return f"The database lacks migrations: {', '.join(str(migration) for migration, _ in missing)}."
            _migrated = True
    except DatabaseError as error:
        return f"The database does not answer: {type(error).__name__}."
    return None
