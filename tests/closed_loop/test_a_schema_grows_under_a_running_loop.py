"""The next version's migrations run while this version goes on, and the plans of its statements are kept."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.db import connection

from orchestrator.models import ActionState
from signals.lib.notifications import connect
from signals.models import Signal
from tests.kit.signals import anomaly, post
from tests.kit.verbs import admit, execute
from tests.kit.world import World, deployment

OURS = ("signals", "guardrails", "orchestrator")


def alter_each_table(change: str) -> None:
    """As another process does it: our own session hears nothing of it."""
    with connect() as session:
        for label in OURS:
            for model in apps.get_app_config(label).get_models():
                session.execute(f"ALTER TABLE {model._meta.db_table} {change}")


@pytest.fixture
def shrunk_afterwards(world: World) -> Iterator[None]:
    yield
    alter_each_table("DROP COLUMN later")


@pytest.mark.usefixtures("shrunk_afterwards")
def test_a_signal_becomes_a_change_while_the_schema_grows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    services = ["before", "after"]
    world.deploy(*map(deployment, services))
    connection.ensure_connection()
    monkeypatch.setattr(connection.connection, "prepare_threshold", 0)  # from the first execution on

    for service in services:
        [receipt] = post(anomaly(service))
        claim = admit(Signal.objects.get(pk=receipt.signal_id).pk, world.observe, "reconciler:we")
        assert claim is not None
        execute(claim, world.cluster, world.observe, "reconciler:we")
        assert claim.action.state == ActionState.VERIFYING
        alter_each_table("ADD COLUMN IF NOT EXISTS later text")
