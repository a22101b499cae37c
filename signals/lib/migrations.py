"""Whether the database has the tables that this version of the code asks for."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def unapplied_migrations() -> list[str]:
    """Names such as `guardrails.0002_respect_owners`, in the order in which they would be applied. A newer schema than
    ours misses nothing: the version before goes on while the next is rolled out."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
