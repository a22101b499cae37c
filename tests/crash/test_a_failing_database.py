"""PostgreSQL ends a session in the middle of a step: nothing is lost, nothing is done twice, nobody is blamed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from runpy import run_path
from typing import Any

import psycopg
import pytest
from django.db import connection

from guardrails.models import GuardrailSetting
from orchestrator.decide.direct import admit_direct
from orchestrator.models import Action, ActionState, Workload, transition_store, transitions
from orchestrator.reconciler import admit
from signals import actors
from signals.lib.notifications import connection_parameters
from signals.models import Signal
from signals.types import ActionType, Origin, Proposal, Target
from tests.crash.victims import Victims, assert_done_once, leases_are_over
from tests.kit.patience import PATIENCE
from tests.kit.referee import Referee
from tests.kit.world import World, endless


def cut_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The session of whoever calls this first ends right before."""
    original: Callable[..., Any] = getattr(owner, name)

    def after_the_cut(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("the session goes on")

    monkeypatch.setattr(owner, name, after_the_cut)


@pytest.mark.usefixtures("one_trouble")
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Workload, "lock"),
        (admit, "decide"),
        (admit, "follow"),
        (transitions, "apply"),
        (transitions, "verified"),
        (transition_store, "_close_and_wake"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_session_cut_in_a_step_costs_nothing_but_time(
    world: World, referee: Referee, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    cut_once(monkeypatch, owner, name)

    world.drain()
    leases_are_over()
    world.drain()

    assert_done_once(world, referee)
    assert Signal.objects.get().errors == 0


def test_an_outcome_whose_session_was_cut_is_recorded_by_the_next_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else will wake it: the target does not change any more, and its deadline has passed."""
    GuardrailSetting.objects.update(verification_timeout_seconds=1)
    world.deploy(endless("slow"), settled=False)
    target = Target("default", "smartops-dev", "slow")
    admit_direct(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 3}), actors.token("ana"))
    cut_once(monkeypatch, transitions, "verified")
    reconciler = world.reconciler()

    with ThreadPoolExecutor(1) as thread:
        ends = thread.submit(reconciler.run, drain=True)
        try:
            ends.result(timeout=PATIENCE)
        finally:
            reconciler.stop()

    assert Action.objects.get(workload__name="slow").state == ActionState.TIMED_OUT


@pytest.mark.usefixtures("one_trouble")
def test_a_process_that_stands_still_in_a_transaction_does_not_hold_the_others_up(
    world: World, referee: Referee, victims: Victims
) -> None:
    victims.pause("the admission is written, not committed")

    world.drain()

    assert_done_once(world, referee)
    victims.resume()
    assert_done_once(world, referee)


@pytest.mark.django_db
def test_every_session_ends_that_stands_still_in_a_transaction() -> None:
    """As the settings have it: the sessions of the tests do not end."""
    [options] = [database["OPTIONS"]["options"] for database in run_path("smartops/settings.py")["DATABASES"].values()]
    with psycopg.connect(**{**connection_parameters(), "options": options}) as session:
        assert session.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10s",)
