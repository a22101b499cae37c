"""A session that is stuck keeps its locks for a while. What it holds waits for it, and nothing else does."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from time import monotonic

import pytest
from django.db import connection, transaction

from guardrails.models import GuardrailSetting
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, Workload
from signals.models import Signal, SignalState
from signals.reasons import Reason
from tests.kit.patience import PATIENCE
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Simulation
from tests.kit.verbs import requested

pytestmark = pytest.mark.django_db(transaction=True)
S = ActionState


@pytest.fixture
def simulation() -> Simulation:
    install_default_rules()
    GuardrailSetting.objects.create(stabilization_seconds=0)
    simulation = Simulation()
    for name in "ab":
        simulation.cluster.deploy(name)
    simulation.observe()
    return simulation


@contextmanager
def locked(lock: Callable[[], object]) -> Iterator[None]:
    """Another session has taken these locks, and does nothing more."""
    taken, over = Event(), Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock()
                taken.set()
                over.wait(PATIENCE)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        try:
            assert taken.wait(PATIENCE)
            yield
        finally:
            over.set()
            holding.result(PATIENCE)


def workload(name: str) -> None:
    Workload.objects.select_for_update().get(name=name)


def new_workload(name: str) -> None:
    Workload.objects.create(cluster="default", namespace=NAMESPACE, kind="Deployment", name=name)


def signal(name: str) -> None:
    Signal.objects.select_for_update().get(workload=name)


def action(name: str) -> None:
    Action.objects.select_for_update(of=("self",)).get(workload__name=name)


def table_of_actions() -> None:
    """As a migration does: it can be read, and not written."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE orchestrator_action IN SHARE MODE")


def states() -> dict[str, str]:
    return {one.workload.name: one.state for one in Action.objects.select_related("workload")}


def quickly(work: Callable[[], object]) -> None:
    began = monotonic()
    work()
    assert monotonic() - began < PATIENCE / 2, "the pass has waited for the stuck session"


@pytest.mark.parametrize("lock", [workload, new_workload, signal])
def test_a_signal_waits_alone_for_what_another_session_holds(
    simulation: Simulation, lock: Callable[[str], None]
) -> None:
    if lock is workload:
        new_workload("a")
    post(anomaly("a"), anomaly("b"))

    with locked(lambda: lock("a")):
        quickly(lambda: simulation.run(2))
        assert states() == {"b": S.VERIFYING}
        assert Signal.objects.get(workload="a").state == SignalState.PENDING

    simulation.sweep()
    assert states() == {"a": S.APPLYING, "b": S.VERIFYING}


@pytest.mark.parametrize("lock", [workload, action])
def test_a_direct_action_waits_alone_for_what_another_session_holds(
    simulation: Simulation, lock: Callable[[str], None]
) -> None:
    requested("a")
    requested("b")
    simulation.run()  # claimed, and read

    with locked(lambda: lock("a")):
        quickly(lambda: simulation.run(2))
        assert Action.objects.get(workload__name="a").planned_uid == ""
        assert Action.objects.get(workload__name="b").state == S.VERIFYING
        assert [claim.action.workload.name for claim in simulation.reconciler.under_way.claims] == ["a"]

    simulation.run(2)
    assert states() == {"a": S.VERIFYING, "b": S.VERIFYING}


def test_a_claim_does_not_wait_for_the_lock_of_the_table(simulation: Simulation) -> None:
    requested("a")

    with locked(table_of_actions):
        quickly(lambda: simulation.run(2))
        assert states() == {"a": S.PENDING}

    simulation.sweep()
    assert states() == {"a": S.APPLYING}


@pytest.mark.parametrize("lock", [workload, action, signal])
def test_a_verification_waits_alone_for_what_another_session_holds(
    simulation: Simulation, lock: Callable[[str], None]
) -> None:
    post(anomaly("a"), anomaly("b"))
    simulation.run(2)
    assert states() == {"a": S.VERIFYING, "b": S.VERIFYING}
    for name in "ab":
        simulation.cluster.roll_out(WorkloadKey(NAMESPACE, name))

    with locked(lambda: lock("a")):
        simulation.observe()
        quickly(lambda: simulation.run(2))
        assert states() == {"a": S.VERIFYING, "b": S.SUCCEEDED}

    simulation.run()
    assert states() == {"a": S.SUCCEEDED, "b": S.SUCCEEDED}


@pytest.mark.parametrize("lock", [workload, signal])
def test_a_cancellation_waits_alone_for_what_another_session_holds(
    simulation: Simulation, lock: Callable[[str], None]
) -> None:
    post(anomaly("a"), anomaly("b"))
    signals = {one.workload: one for one in Signal.objects.all()}
    for name in "ab":
        requested(name, signal=signals[name])
    Action.objects.update(not_before="2999-01-01T00:00:00Z")
    Signal.objects.update(state=SignalState.ADMITTED)
    post(anomaly("a", firing=False), anomaly("b", firing=False))

    with locked(lambda: lock("a")):
        quickly(simulation.sweep)
        assert states() == {"a": S.PENDING, "b": S.CANCELLED}

    simulation.sweep()
    assert states() == {"a": S.CANCELLED, "b": S.CANCELLED}


def test_a_pass_does_not_wait_to_wake_the_signals_of_a_rollout(simulation: Simulation) -> None:
    for name in "ab":
        simulation.cluster.change(WorkloadKey(NAMESPACE, name), status_replicas=3, updated_replicas=1)
    simulation.observe()
    post(anomaly("a"), anomaly("b"))
    simulation.run()
    assert set(Signal.objects.values_list("reason", flat=True)) == {Reason.ROLLOUT_IN_PROGRESS}
    for name in "ab":
        simulation.cluster.roll_out(WorkloadKey(NAMESPACE, name))

    with locked(lambda: signal("a")):
        simulation.observe()
        quickly(simulation.run)

    simulation.run()
    assert states() == {"a": S.APPLYING, "b": S.APPLYING}
