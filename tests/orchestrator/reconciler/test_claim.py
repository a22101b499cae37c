"""Due actions are claimed, each by one process."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from orchestrator.models import Action, ActionState, transition_store
from orchestrator.reconciler.claim import claim_due, give_up
from signals.reasons import Reason
from signals.types import Kind
from tests.kit.history import rewritable
from tests.kit.patience import PATIENCE
from tests.kit.signals import NAMESPACE, delayed
from tests.kit.verbs import requested, row

pytestmark = pytest.mark.usefixtures("rules")
S = ActionState
BY = "reconciler:test"


def test_due_actions_of_the_cluster_are_claimed_in_their_order() -> None:
    later, first, waits, elsewhere = (requested(name) for name in "abcd")
    Action.objects.filter(pk=first.pk).update(not_before=Now() - timedelta(minutes=1))
    Action.objects.filter(pk=waits.pk).update(not_before=Now() + timedelta(minutes=1))
    with rewritable(Action):
        Action.objects.filter(pk=elsewhere.pk).update(cluster="other")

    assert [claim.action.pk for claim in claim_due("default", 1, BY)] == [first.pk]
    assert [claim.action.pk for claim in claim_due("default", 9, BY)] == [later.pk]
    assert claim_due("default", 9, BY) == []
    claimed = row(first)
    assert (claimed.state, claimed.epoch, claimed.attempts, claimed.moved_by) == (S.APPLYING, 1, 1, BY)
    assert claimed.lease_until is not None
    assert round((claimed.lease_until - claimed.updated_at).total_seconds()) == transition_store.LEASE.total_seconds()
    assert {row(waits).state, row(elsewhere).state} == {S.PENDING}


@pytest.mark.django_db(transaction=True)
def test_actions_that_another_process_is_claiming_are_left_to_it() -> None:
    held, free = requested("a"), requested("b")

    def claim_elsewhere() -> list[Any]:
        try:
            return [claim.action.pk for claim in claim_due("default", 9, "reconciler:another")]
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Action.objects.select_for_update().get(pk=held.pk)
        assert threads.submit(claim_elsewhere).result(PATIENCE) == [free.pk]


def test_an_action_of_a_namespace_that_has_not_synced_is_claimed_later() -> None:
    action = requested("a")
    for delays in (delayed(smartops_dev=10.0), delayed(everywhere=10.0), delayed(another=0.0, smartops_dev=86_400.0)):
        assert claim_due("default", 9, BY, delays) == []

    Action.objects.update(not_before=Now() - timedelta(seconds=11))

    assert claim_due("default", 9, BY, delayed(smartops_dev=12.0)) == []
    others = {**delayed(another=99.0), ("*", Kind.DAEMON_SET): 99.0, (NAMESPACE, Kind.STATEFUL_SET): 99.0}
    [claim] = claim_due("default", 9, BY, {**others, (NAMESPACE, Kind.DEPLOYMENT): 10.0})
    assert claim.action.pk == action.pk


def test_a_claim_knows_the_message_of_the_attempt_before() -> None:
    action = requested()
    Action.objects.filter(pk=action.pk).update(message="slow down")

    [claim] = claim_due("default", 9, BY)

    assert claim.last_message == "slow down"


@pytest.mark.parametrize(
    ("ambiguous", "expected"),
    [(False, (S.FAILED, Reason.RETRIES_EXHAUSTED)), (True, (S.NEEDS_REVIEW, Reason.OUTCOME_UNKNOWN))],
)
def test_an_action_that_crashes_its_processes_is_given_up(ambiguous: bool, expected: tuple[str, str]) -> None:
    requested()
    [claim] = claim_due("default", 1, BY)
    claim.ambiguous = ambiguous

    give_up([claim], BY)

    action = row(claim.action)
    assert (action.state, action.reason) == expected
