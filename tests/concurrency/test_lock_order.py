"""Statements that write several signals lock them in the order of their fingerprint, and those that write several
actions in the order of their ids: so they cannot deadlock with each other, nor with a reconciler that locks a batch in
this order."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from guardrails.models import GuardrailSetting
from orchestrator.models import Action, transition_store
from orchestrator.models import transitions as actions_
from signals import transitions
from signals.models import Signal
from signals.types import Observation
from tests.kit.patience import PATIENCE
from tests.kit.signals import anomaly, post
from tests.kit.threads import wait_for_lock
from tests.kit.verbs import requested, row

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 5


def by_fingerprint(firing: bool = True) -> list[Observation]:
    return sorted((anomaly(f"erp-{number}", firing=firing) for number in range(COUNT)), key=lambda one: one.fingerprint)


def fire() -> None:
    post(*reversed(by_fingerprint()))


def resolve() -> None:
    post(*reversed(by_fingerprint(firing=False)))


def fire_and_resolve() -> None:
    post(*reversed(by_fingerprint()), *reversed(by_fingerprint(firing=False)))


def resolve_the_first_and_fire_the_others() -> None:
    """Two statements: the first of them fires."""
    firing, ended = by_fingerprint(), by_fingerprint(firing=False)
    post(*reversed(firing[1:]), ended[0])


def release() -> None:
    last, *others = reversed(by_fingerprint())
    ended = Signal.objects.filter(fingerprint=last.fingerprint).values_list("pk", flat=True)
    Signal.close_and_wake(list(ended), [one.target for one in others], ["TargetBusy"])


def change_a_setting() -> None:
    GuardrailSetting.objects.create(max_replicas=7)


@pytest.mark.parametrize(
    "write",
    [fire, resolve, fire_and_resolve, resolve_the_first_and_fire_the_others, release, change_a_setting],
)
@pytest.mark.parametrize("held", range(1, COUNT))
def test_a_statement_holds_the_signals_before_the_one_it_waits_for(write: Callable[[], None], held: int) -> None:
    fire()
    later = timezone.now() + timedelta(hours=1)
    transitions.store([transitions.defer(signal, "TargetBusy", "Wait.", later) for signal in Signal.objects.all()])
    if write is release:  # only an admitted signal closes with its action
        transitions.store([transitions.admit(Signal.objects.latest("fingerprint"))])
    order = list(Signal.objects.order_by("fingerprint").values_list("pk", flat=True))

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            Signal.objects.select_for_update().get(pk=order[held])
            writing = threads.submit(on_its_own_connection, write)
            wait_for_lock()
            free = set(Signal.objects.select_for_update(skip_locked=True).values_list("pk", flat=True))
        writing.result(PATIENCE)

    assert free == set(order[held:])


@pytest.mark.parametrize("held", range(1, COUNT))
def test_a_batch_of_transitions_holds_the_actions_before_the_one_it_waits_for(held: int) -> None:
    actions = sorted((requested(f"erp-{number}") for number in range(COUNT)), key=lambda one: one.pk)
    claims = [actions_.claim(row(one), "reconciler:test") for one in reversed(actions)]

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            Action.objects.select_for_update().get(pk=actions[held].pk)
            writing = threads.submit(on_its_own_connection, lambda: transition_store.store(claims))
            wait_for_lock()
            free = set(Action.objects.select_for_update(skip_locked=True).values_list("pk", flat=True))
        writing.result(PATIENCE)

    assert free == {one.pk for one in actions[held:]}
    assert set(Action.objects.values_list("state", flat=True)) == {"applying"}


def on_its_own_connection(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connection.close()
