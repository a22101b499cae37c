"""What `manage.py reconcile` refuses to start with."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


def test_without_the_migrations_it_does_not_start(db: None) -> None:
    MigrationRecorder(connection).record_unapplied("guardrails", "0001_initial")

    with pytest.raises(CommandError, match=r"lacks migrations: guardrails\.0001_initial\. Run `manage.py migrate`"):
        call_command("reconcile", "--drain")


@pytest.mark.parametrize("workers", ["0", "19"])
def test_more_workers_than_the_pool_has_connections_for_are_refused(workers: str) -> None:
    with pytest.raises(CommandError, match="or raise SMARTOPS_DATABASE_POOL"):
        call_command("reconcile", "--workers", workers)
