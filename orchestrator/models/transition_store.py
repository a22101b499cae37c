"""A transition of an action as a value, and the functions that store any number of them.

Each is a compare-and-set on the state and epoch of the copy that it was made from, so a process that lost the action
changes nothing. The first transition of a new action is stored with it. The database writes the timeline and sends the
notification.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from guardrails.models import Cooldown
from orchestrator import metrics, queries
from orchestrator.models.action import PENDING_FOR, Action
from orchestrator.models.evidence import Verification
from orchestrator.models.states import FINAL, ActionState
from orchestrator.models.workload import Workload
from signals.lib import tracing
from signals.lib.partitions import generic_plan
from signals.lib.transition_log import log_transition
from signals.models import Signal
from signals.reasons import Reason
from signals.types import ActionType

LEASE = timedelta(seconds=30)  # a call to the cluster may take a third of it
# The columns that a transition may change, beside the times.
COLUMNS = (
    *("epoch", "attempts", "ambiguous", "planned_uid", "planned_resource_version", "planned_generation"),
    *("before", "change", "before_image", "after_image", "scale_increase", "scale_decrease", "warnings"),
    *("digest", "shown"),
)
TIMES = ("updated_at", "not_before", "deadline_at", "lease_until", "applied_at", "finished_at")


@dataclass(frozen=True, slots=True)
class Asks:
    """What persons are asked to approve (orchestrator/decide/approval.py), why, and for how many seconds. `details`
    have under `changed` what is not as it was shown before."""

    shown: Mapping[str, Any]
    digest: str
    reason: Reason
    message: str
    details: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Transition:
    """`columns` are other columns that change. `not_before` and `deadline` are in seconds from now. `applied` says that
    the change counts as applied now. `cooldown`, `begins` and `evidence` are stored in the same transaction: how many
    seconds the cooldown lasts, the verification that begins, and the columns of the one that ends. `cooldown_again` is
    for how many seconds a cooldown that is over begins again. `lease_is_over` makes the end of the lease a
    condition."""

    action: Action
    to: ActionState
    actor: str
    reason: str = ""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    not_before: float | None = None
    deadline: float | None = None
    applied: bool = False
    cooldown: int | None = None
    cooldown_again: int | None = None
    begins: Verification | None = None
    evidence: Mapping[str, Any] | None = None
    lease_is_over: bool = False


def store(transitions: Sequence[Transition], *, savepoint: bool = True) -> list[Transition]:
    """Stores the transitions whose action is still as its copy says, and returns them. For the others, another process
    was first. The copies of the stored ones are up to date afterwards; after an error they are as before. Without a
    `savepoint`, an error ends the surrounding transaction."""
    transitions = [one for one in transitions if one.action.state not in FINAL]
    if not transitions:
        return []
    actions = [one.action for one in transitions]
    reset = connection.in_atomic_block  # else the end of the transaction resets the mode
    with atomic(actions, savepoint=savepoint), generic_plan(reset=reset, lock_timeout=queries.LOCK_TIMEOUT):
        # Workloads before actions, as everywhere: a process that decides on the target finds it free, or has committed
        # its deferral, which `_close_and_wake` then ends.
        if ending := {one.action.workload_id for one in transitions if one.to in FINAL}:
            Workload.lock_rows(ending)
        ids = [one.pk for one in actions]
        moved = queries.fetch(queries.MOVE_ACTIONS, map(_row, transitions), first=min(ids))
        times = {row[0]: row[1:] for row in moved}
        stored = [one for one in transitions if one.action.pk in times]
        for one in stored:
            _log(one, one.action.state)
            _update_copy(one, times[one.action.pk])
        _follow_up(stored)
    return stored


def create(transitions: Sequence[Transition], now: datetime) -> None:
    """Stores new actions with their first transitions, in the surrounding transaction. `now`: by the clock of the
    database."""
    for one in transitions:
        _log(one, "", target=one.action.workload)
        one.action.created_at = now
        _update_copy(one, _first_times(one, now))
    queries.insert([one.action for one in transitions])
    _follow_up(transitions)


@contextmanager
def atomic(actions: Iterable[Action], *, savepoint: bool = True) -> Iterator[None]:
    """A transaction that stores transitions of these actions. If it fails, even at its commit, the copies are as they
    were before: a repeated attempt compares with what the database still has."""
    before = [(action, dict(vars(action))) for action in actions]
    try:
        with transaction.atomic(savepoint=savepoint):
            yield
    except BaseException:
        for action, columns in before:
            vars(action).update(columns)
        raise


def _row(one: Transition) -> dict[str, Any]:
    """A column that the transition does not name stays as the copy has it."""
    action = one.action
    return {
        "id": str(action.pk),
        "from_state": action.state,
        "from_epoch": action.epoch,
        "from_version": action.planned_resource_version,
        "lease_is_over": one.lease_is_over,
        "state": one.to,
        "reason": one.reason,
        "message": one.message,
        "details": dict(one.details),
        "moved_by": one.actor,
        **{name: one.columns[name] if name in one.columns else getattr(action, name) for name in COLUMNS},
        "not_before": one.not_before,
        "deadline": one.deadline,
        "lease": LEASE.total_seconds() if one.to == ActionState.APPLYING else None,
        "applied": one.applied,
        "finished": one.to in FINAL,
    }


def _first_times(one: Transition, now: datetime) -> Sequence[datetime | None]:
    deadline = PENDING_FOR if one.deadline is None else timedelta(seconds=one.deadline)
    lease = now + LEASE if one.to == ActionState.APPLYING else None
    return now, now, now + deadline, lease, now if one.applied else None, now if one.to in FINAL else None


def _follow_up(stored: Sequence[Transition]) -> None:
    """What is stored with transitions, in their transaction."""
    if applied := [one for one in stored if one.cooldown is not None]:
        _record_applied(applied)
    if evidence := [_evidence(one.action.pk, one.evidence) for one in stored if one.evidence is not None]:
        queries.execute(queries.END_VERIFICATIONS, evidence, first=min(one.action.pk for one in stored))
    Cooldown.begin_again(
        (one.action.workload.target, one.action.type, one.cooldown_again)
        for one in stored
        if one.cooldown_again is not None
    )
    if ended := [one.action for one in stored if one.to in FINAL]:
        reported = _close_and_wake(ended)
        transaction.on_commit(partial(_count, ended, reported), robust=True)


def _evidence(action: UUID, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {"action_id": str(action), **columns}


def _record_applied(applied: Sequence[Transition]) -> None:
    """The cooldowns start, and the verifications begin."""
    Cooldown.start(
        (one.action.workload.target, ActionType(one.action.type), one.cooldown)
        for one in applied
        if one.cooldown is not None
    )
    queries.insert([one.begins for one in applied if one.begins is not None])


def _close_and_wake(ended: Sequence[Action]) -> Mapping[UUID, datetime]:
    """The targets are free: the signals of these actions close, and the signals that wait for the targets are due.
    Returns when the signals were first reported."""
    signals = [action.signal_id for action in ended if action.signal_id]
    return Signal.close_and_wake(signals, [action.workload.target for action in ended], (Reason.TARGET_BUSY,))


def _update_copy(one: Transition, times: Sequence[Any]) -> None:
    fresh = {"state": one.to, "reason": one.reason, "message": one.message, "details": dict(one.details)}
    fresh |= {"moved_by": one.actor, **one.columns, **dict(zip(TIMES, times, strict=True))}
    for name, value in fresh.items():
        setattr(one.action, name, value)


def _log(one: Transition, came_from: str, **about: object) -> None:
    action = one.action
    log_transition(
        "action",
        action.pk,
        came_from,
        one.to,
        traceparent=action.traceparent,
        reason=one.reason,
        signal=action.signal_id,
        actor=one.actor,
        **about,
    )


def _count(ended: Iterable[Action], reported: Mapping[UUID, datetime]) -> None:
    """`reported`: when the signals of the actions were first reported."""
    for action in ended:
        assert action.finished_at is not None
        took = (action.finished_at - action.created_at).total_seconds()
        since = None if action.signal_id is None else reported.get(action.signal_id)
        since_signal = None if since is None else (action.finished_at - since).total_seconds()
        with tracing.continued(action.traceparent):
            metrics.record_end(action.type, action.state, took, since_signal)
