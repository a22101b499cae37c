"""The mistakes with which `manage.py reconcile` does not start."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder


def test_the_reconciler_does_not_start_on_unapplied_migrations(db: None) -> None:
    MigrationRecorder(connection).record_unapplied("guardrails", "0001_initial")

    with pytest.raises(
        CommandError, match=r"has unapplied migrations: guardrails\.0001_initial\. Run `manage.py migrate`"
    ):
        call_command("reconcile", "--drain")


@pytest.mark.parametrize("workers", ["0", "257"])
def test_a_number_of_workers_out_of_range_is_refused(workers: str) -> None:
    with pytest.raises(CommandError, match=f"must be 1 to 256, not {workers}"):
        call_command("reconcile", "--workers", workers)
