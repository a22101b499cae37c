"""Whether the schema of the database is at least that of this version of the code."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def unapplied_migrations() -> list[str]:
    """Names such as `signals.0002_default_rules`, in the order in which `migrate` would apply them. Empty if the schema
    is newer than the code: the previous version keeps running while the next one is rolled out."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
