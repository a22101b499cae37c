"""The verbs of the reconciler, one signal or action at a time, without its loop and its threads; and their faults."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
from django.db import OperationalError, transaction
from django.db.models.functions import Now

from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.decide.policy import policy_is_configured
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.target import ObserveTarget
from orchestrator.models import Action, Workload, transition_store, transitions
from orchestrator.reconciler import admit as verb
from orchestrator.reconciler import calls, plan, record
from orchestrator.reconciler.batch import store_together
from orchestrator.reconciler.calls import Answer, Reading
from orchestrator.reconciler.claim import Claim
from orchestrator.reconciler.next_step import NextStep
from orchestrator.reconciler.pool import answer
from signals import actors
from signals.actors import Actor
from signals.models import Signal
from signals.types import ActionType, Kind, NamingFacts, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE

One = TypeVar("One")
Result = TypeVar("Result")


def admit(signal_id: UUID, observe: ObserveTarget, actor: str) -> Claim | None:
    """Decides on one due signal. The claim of its action, if it led to one."""
    candidates, _ = verb.due("default", 1000, (), observe)
    [candidate] = [one for one in candidates if one.signal.pk == signal_id]
    if verb.needs_lookup(candidate, policy_is_configured()):
        candidate = calls.look_up(candidate, observe, lambda _: NamingFacts())
    return next(iter(verb.admit([candidate], actor)), None)


def claim(action: Action, actor: str) -> Claim:
    transition_store.store([transitions.claim(action, actor)])
    return Claim.of(action)


def execute(claim: Claim, cluster: Cluster, observe: ObserveTarget, actor: str) -> None:
    """Until the answer of the cluster is recorded, or the action waits or has ended."""
    unplanned = claim.limits is None
    while True:
        if unplanned:
            state = observe(claim.action.workload.target)
            reading = answer(
                partial(calls.read, claim, cluster, state),
                partial(Reading, claim, NextStep.PLAN, state, None),
            )
            if not plan.plan([reading], actor, lambda: 1.0):
                return
        claim.writes += 1
        written = answer(partial(calls.write, claim, cluster), partial(Answer, claim))
        record.mark_ambiguous(written)
        if not record.is_unclear(written):
            record.record([written], actor, lambda: 1.0)
            return
        unplanned = True


def propose(proposal: Proposal, workload: Workload, requested_by: Actor, **fields: Any) -> Action:
    """A pending action, as a direct request leaves it, without a decision."""
    action = Action.new(replace(proposal, requested_by=requested_by), workload, **fields)
    action.save(force_insert=True)
    return action


def history(target: Target, action_type: ActionType = ActionType.SCALE) -> WorkloadHistory:
    """Of a workload, which is stored if it is new."""
    with transaction.atomic():
        workload = Workload.lock([target])[target]
    [known] = load_history([Wanted(target, workload.pk, action_type)])
    return known


def requested(
    name: str = "erp-simulator", *, kind: Kind = Kind.DEPLOYMENT, signal: Signal | None = None, **terms: Any
) -> Action:
    """A pending action that scales a workload of NAMESPACE to 3, without a decision. `terms` are of its proposal."""
    target = Target("default", NAMESPACE, name, kind)
    origin = Origin.CLOSED_LOOP if signal else Origin.DIRECT
    proposal = Proposal(ActionType.SCALE, target, origin, {"replicas": 3}, **terms)
    with transaction.atomic():
        workload = Workload.lock([target])[target]
    return propose(proposal, workload, actors.token("ana"), signal=signal)


def row(action: Action) -> Action:
    """A fresh copy, as a process reads it that knows nothing of the action."""
    return Action.objects.select_related("workload", "signal").get(pk=action.pk)


def lease_ends(*actions: Action) -> None:
    Action.objects.filter(pk__in=[one.pk for one in actions]).update(lease_until=Now() - timedelta(seconds=1))


def those_stored(
    rows: list[One], store: Callable[[Sequence[One]], Sequence[Result]], failed: Callable[[One, Exception], None]
) -> list[Result]:
    """What `store_together` hands on."""
    results = list[Result]()
    store_together(rows, store, failed, results.append)
    return results


def fail_once(patch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool = False) -> None:
    """The next call of this function finds no database: at once, or `after` it has done its work."""
    original: Callable[..., Any] = getattr(owner, name)

    def fails(*args: Any, **kwargs: Any) -> Any:
        patch.setattr(owner, name, original)
        if after:
            original(*args, **kwargs)
        raise OperationalError("the server closed the connection unexpectedly")

    patch.setattr(owner, name, fails)


def poison(patch: pytest.MonkeyPatch, owner: Any, name: str, is_poison: Callable[..., bool]) -> None:
    """This function raises a ValueError for what `is_poison` says of its arguments."""
    original: Callable[..., Any] = getattr(owner, name)

    def may_fail(*args: Any, **kwargs: Any) -> Any:
        if is_poison(*args):
            raise ValueError("poison")
        return original(*args, **kwargs)

    patch.setattr(owner, name, may_fail)
