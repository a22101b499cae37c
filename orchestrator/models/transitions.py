"""The transitions of an action: one constructor for each, and the one statement that stores them.

A transition is a value. `store` writes any number of them in one transaction; each is a compare-and-set on the state
and epoch of the copy that it was made from, so a process that lost the action changes nothing. The database writes the
timeline and sends the notification.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from guardrails.models import Cooldown
from guardrails.types import Limits
from orchestrator import metrics, queries
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models.action import PENDING_FOR, Action
from orchestrator.models.evidence import Verification, VerificationStatus
from orchestrator.models.states import FINAL, ActionState
from orchestrator.models.states import ActionState as S
from orchestrator.models.workload import Workload
from signals.lib import tracing
from signals.lib.partitions import planned_once
from signals.lib.transition_log import log_transition
from signals.models import Signal
from signals.proposals import PROPOSAL_TYPES
from signals.proposals.images import images, observe
from signals.reasons import Reason
from signals.types import ActionType

LEASE = timedelta(seconds=30)  # a call to the cluster may take a third of it
REVIEW_FOR = timedelta(hours=24)
VERIFIED_AS = {
    VerificationStatus.SUCCESS: S.SUCCEEDED,
    VerificationStatus.FAILED: S.FAILED,
    VerificationStatus.TIMED_OUT: S.TIMED_OUT,
}
# The columns that a transition may change, beside the times.
COLUMNS = (
    *("epoch", "attempts", "ambiguous", "planned_uid", "planned_resource_version", "planned_generation"),
    *("before", "change", "before_image", "after_image", "scale_increase", "scale_decrease", "warnings"),
    *("digest", "shown"),
)
TIMES = ("updated_at", "not_before", "deadline_at", "lease_until", "applied_at", "finished_at")
NO_PLAN: Mapping[str, Any] = {
    "planned_uid": "",
    "planned_resource_version": "",
    "planned_generation": None,
    "change": None,
    "before_image": None,
    "after_image": None,
    "scale_increase": 0,
    "scale_decrease": 0,
    "warnings": [],
}
# No write has been made of the plan, and none will be: neither a crash nor a read may take it for one.
UNWRITTEN: Mapping[str, Any] = {"planned_resource_version": "", "ambiguous": False}
# A rollout that the Deployment controller gives up shows it a moment after its progress deadline.
DEADLINE_MARGIN = 10  # seconds


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


def claim(action: Action, actor: str) -> Transition:
    """pending → applying, for `LEASE`: until then no other process takes the action up."""
    return Transition(action, S.APPLYING, actor, columns=_next_claim(action))


def reclaim(action: Action, actor: str) -> Transition:
    """applying → applying under a new epoch, once the lease is over. The former holder may have sent its write."""
    ambiguous = action.ambiguous or bool(action.planned_resource_version)
    return Transition(
        action,
        S.APPLYING,
        actor,
        message="The lease of the process that held this action has ended.",
        columns={**_next_claim(action), "ambiguous": ambiguous},
        lease_is_over=True,
    )


def plan(
    action: Action,
    live: WorkloadObject,
    change: Mapping[str, Any],
    scale_increase: int,
    actor: str,
    *,
    scale_decrease: int = 0,
    warnings: Sequence[Mapping[str, Any]] = (),
) -> Transition:
    """The plan, committed before the write: what will be written, and to which version of which object. It claims a
    pending action. `warnings`: as in Action."""
    columns = planned(action, live, change, scale_increase, scale_decrease=scale_decrease, warnings=warnings)
    return Transition(
        action,
        S.APPLYING,
        actor,
        message=f"Planned against version {live.resource_version}.",
        columns={**(_next_claim(action) if action.state == S.PENDING else {}), **columns},
    )


def planned(
    action: Action,
    live: WorkloadObject,
    change: Mapping[str, Any],
    scale_increase: int,
    *,
    scale_decrease: int = 0,
    warnings: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The columns of a plan."""
    return {
        "planned_uid": live.uid,
        "planned_resource_version": live.resource_version,
        "planned_generation": live.generation,
        "before": _before(live),
        "change": dict(change),
        **_images(action, change, live),
        "scale_increase": scale_increase,
        "scale_decrease": scale_decrease,
        "warnings": list(warnings),
    }


def ask(action: Action, plan: Mapping[str, Any], asks: Asks, actor: str) -> Transition:
    """pending, applying or awaiting_approval → awaiting_approval: the plan is shown, and nothing is written. Approvals
    of what was shown before count no longer. `plan`: its columns."""
    return Transition(
        action,
        S.AWAITING_APPROVAL,
        actor,
        asks.reason,
        asks.message,
        asks.details,
        columns={**plan, **UNWRITTEN, "digest": asks.digest, "shown": dict(asks.shown)},
        deadline=asks.seconds,
    )


def observe_only(
    action: Action, plan: Mapping[str, Any], message: str, details: Mapping[str, Any], cooldown: int, actor: str
) -> Transition:
    """pending, applying or awaiting_approval → observed: nothing is written, and it counts as if it had been. `plan`:
    its columns. `cooldown`: in seconds."""
    columns = {**plan, **UNWRITTEN}
    return Transition(
        action,
        S.OBSERVED,
        actor,
        Reason.OBSERVE_ONLY,
        message,
        details,
        columns=columns,
        applied=True,
        cooldown=cooldown,
    )


def approve(action: Action, message: str, details: Mapping[str, Any], actor: str) -> Transition:
    """awaiting_approval → pending: enough persons have approved what was shown. It is checked again before its
    write."""
    seconds = PENDING_FOR.total_seconds()
    return Transition(action, S.PENDING, actor, Reason.APPROVED, message, details, not_before=0.0, deadline=seconds)


def reject(action: Action, message: str, actor: str) -> Transition:
    """awaiting_approval → rejected: a person does not want it."""
    return Transition(action, S.REJECTED, actor, Reason.REJECTED, message)


def expire_approval(action: Action, message: str, actor: str) -> Transition:
    """awaiting_approval → expired."""
    return Transition(action, S.EXPIRED, actor, Reason.APPROVAL_EXPIRED, message)


def keep_plan(
    action: Action, live: WorkloadObject, actor: str, *, warnings: Sequence[Mapping[str, Any]] = ()
) -> Transition:
    """The same change again, against the version that the target has now: at most its status or metadata has changed
    since the plan."""
    message = f"Writing the same change against version {live.resource_version}."
    columns = {
        "planned_resource_version": live.resource_version,
        "before": _before(live),
        **_images(action, action.change or {}, live),
        "warnings": list(warnings),
    }
    return Transition(action, S.APPLYING, actor, message=message, columns=columns)


def apply(action: Action, written: WorkloadObject, limits: Limits, actor: str, *, answered: bool = True) -> Transition:
    """applying → verifying, or → succeeded if nothing is to be verified. From now on the action counts in the windows,
    and its cooldown runs: `applied_at` is the latest moment at which the write can have taken effect. `answered`:
    `written` is the answer to the write, and no later version."""
    image = _stored(action, written) if answered else {}
    if action.dry_run:
        message = "The API server accepted the dry run; nothing was changed."
        return Transition(action, S.SUCCEEDED, actor, message=message, columns=image)
    if not action.verify:
        message = "Applied. Not verified, as requested."
        cooldown = limits.cooldown_seconds
        return Transition(action, S.SUCCEEDED, actor, message=message, columns=image, applied=True, cooldown=cooldown)
    changed = PROPOSAL_TYPES[ActionType(action.type)].fields(action.params)
    own_deadline = written.progress_deadline and written.progress_deadline + DEADLINE_MARGIN
    baseline = {**(action.before or {}), "fields": list(overlapping(written.ours, changed))}
    return Transition(
        action,
        S.VERIFYING,
        actor,
        message=f"Applied as generation {written.generation}.",
        columns={"planned_uid": written.uid, **image},
        deadline=max(limits.verification_timeout_seconds, own_deadline),
        applied=True,
        cooldown=limits.cooldown_seconds,
        begins=Verification(
            action=action,
            generation=written.generation,
            baseline=baseline,
            stabilization_seconds=limits.stabilization_seconds,
            cooldown_seconds=limits.cooldown_seconds,
        ),
    )


def retry(
    action: Action, reason: Reason, message: str, delay: float, actor: str, *, ambiguous: bool = False
) -> Transition:
    """applying → pending. A write that was certainly not applied is planned anew; an ambiguous one keeps its plan, and
    the next claim reads the target first."""
    columns = {"ambiguous": ambiguous, **({} if ambiguous else NO_PLAN)}
    return Transition(action, S.PENDING, actor, reason, message, columns=columns, not_before=delay)


def cancel(
    action: Action, reason: str, message: str, actor: str, details: Mapping[str, Any] | None = None
) -> Transition:
    """pending, applying or awaiting_approval → cancelled: the change was not applied."""
    return Transition(action, S.CANCELLED, actor, reason, message, details or {})


def fail(action: Action, reason: str, message: str, actor: str) -> Transition:
    """applying → failed: the change was not applied."""
    return Transition(action, S.FAILED, actor, reason, message)


def require_review(action: Action, message: str, actor: str) -> Transition:
    """applying → needs_review: it cannot be known whether the change was applied. The target stays occupied."""
    deadline = REVIEW_FOR.total_seconds()
    return Transition(action, S.NEEDS_REVIEW, actor, Reason.OUTCOME_UNKNOWN, message, deadline=deadline)


def reviewed(action: Action, applied: bool, message: str, limits: Limits, actor: str) -> Transition:
    """needs_review → succeeded or cancelled: a person says whether the change was applied."""
    if not applied:
        return cancel(action, Reason.REVIEWED, message, actor)
    return Transition(
        action, S.SUCCEEDED, actor, Reason.REVIEWED, message, applied=True, cooldown=limits.cooldown_seconds
    )


def expire_review(action: Action, limits: Limits, actor: str) -> Transition:
    """needs_review → failed. The write counts as applied: not knowing must not exceed a limit."""
    message = "Nobody reviewed it in time."
    return Transition(
        action, S.FAILED, actor, Reason.REVIEW_EXPIRED, message, applied=True, cooldown=limits.cooldown_seconds
    )


def verified(
    action: Action, status: VerificationStatus, reason: Reason, message: str, seen: WorkloadObject | None, actor: str
) -> Transition:
    """verifying → succeeded, failed or timed_out, with the evidence: the workload as it was observed last. If the
    cooldown is over by then, it begins again."""
    evidence = {"status": status, "message": message, **({} if seen is None else observed_counts(seen))}
    found: Verification | None = getattr(action, "verification", None)  # a row that cannot be read may have none
    again = None if found is None else found.cooldown_seconds
    return Transition(action, VERIFIED_AS[status], actor, reason, message, evidence=evidence, cooldown_again=again)


def store(transitions: Sequence[Transition]) -> list[Transition]:
    """Stores the transitions whose action is still as its copy says, and returns them. For the others, another process
    was first. The copies of the stored ones are up to date afterwards; after an error they are as before."""
    transitions = [one for one in transitions if one.action.state not in FINAL]
    if not transitions:
        return []
    with atomic(one.action for one in transitions), planned_once():
        # Workloads before actions, as everywhere: a process that decides on the target finds it free, or has committed
        # its deferral, which `_release` then ends.
        Workload.lock_rows({one.action.workload_id for one in transitions if one.to in FINAL})
        ids = [one.action.pk for one in transitions]
        moved = queries.fetch(queries.MOVE_ACTIONS, map(_row, transitions), first=min(ids))
        times = {row[0]: row[1:] for row in moved}
        stored = [one for one in transitions if one.action.pk in times]
        if applied := [one for one in stored if one.cooldown is not None]:
            _record_applied(applied)
        if evidence := [_evidence(one.action.pk, one.evidence) for one in stored if one.evidence is not None]:
            queries.execute(queries.END_VERIFICATIONS, evidence, first=min(ids))
        Cooldown.begin_again(
            (one.action.workload.target, one.action.type, one.cooldown_again)
            for one in stored
            if one.cooldown_again is not None
        )
        ended = [one.action for one in stored if one.to in FINAL]
        reported = _release(ended) if ended else {}
        for one in stored:
            _log(one)
            _update_copy(one, times[one.action.pk])
        transaction.on_commit(partial(_count, ended, reported), robust=True)
    return stored


@contextmanager
def atomic(actions: Iterable[Action]) -> Iterator[None]:
    """A transaction that stores transitions of these actions. If it fails, even at its commit, the copies are as they
    were before: a repeated attempt compares with what the database still has."""
    before = [(action, dict(vars(action))) for action in actions]
    try:
        with transaction.atomic():
            yield
    except BaseException:
        for action, columns in before:
            vars(action).update(columns)
        raise


def _before(live: WorkloadObject) -> dict[str, Any]:
    """Of the version that the write names. What the cluster reports later, it reports after the change."""
    return {
        "replicas": live.replicas,
        "available": live.available_replicas,
        "paused": live.paused,
        "conditions": [list(one.reported) for one in live.conditions],
    }


def _images(action: Action, change: Mapping[str, Any], live: WorkloadObject) -> dict[str, Any]:
    """Of the version that the write names: it is refused if the object has changed since."""
    found = images(PROPOSAL_TYPES[ActionType(action.type)].patch(change), json.loads(live.document))
    return {"before_image": dict(found.before), "after_image": dict(found.after)}


def _stored(action: Action, written: WorkloadObject) -> dict[str, Any]:
    """The fields as the API server has stored them, with its defaults. In a later version others may have changed them:
    then the image stays as it was planned."""
    paths = {**(action.before_image or {}), **(action.after_image or {})}
    return {"after_image": dict(observe(paths, json.loads(written.document)))}


def _next_claim(action: Action) -> dict[str, int]:
    return {"epoch": action.epoch + 1, "attempts": action.attempts + 1}


def _row(one: Transition) -> dict[str, Any]:
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
        "lease": LEASE.total_seconds() if one.to == S.APPLYING else None,
        "applied": one.applied,
        "finished": one.to in FINAL,
    }


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


def _release(ended: Sequence[Action]) -> Mapping[UUID, datetime]:
    """The targets are free: the signals of these actions close, and the signals that wait for the targets are due.
    Returns when the signals were first reported."""
    signals = [action.signal_id for action in ended if action.signal_id]
    return Signal.release(signals, [action.workload.target for action in ended], (Reason.TARGET_BUSY,))


def _update_copy(one: Transition, times: Sequence[Any]) -> None:
    fresh = {"state": one.to, "reason": one.reason, "message": one.message, "details": dict(one.details)}
    fresh |= {"moved_by": one.actor, **one.columns, **dict(zip(TIMES, times, strict=True))}
    for name, value in fresh.items():
        setattr(one.action, name, value)


def _log(one: Transition) -> None:
    action = one.action
    log_transition(
        "action",
        action.pk,
        action.state,
        one.to,
        traceparent=action.traceparent,
        reason=one.reason,
        signal=action.signal_id,
        actor=one.actor,
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


def observed_counts(seen: WorkloadObject) -> dict[str, Any]:
    return {
        "desired_replicas": seen.replicas,
        "ready_replicas": seen.ready_replicas,
        "available_replicas": seen.available_replicas,
        "updated_replicas": seen.updated_replicas,
        "observed_generation": seen.observed_generation,
    }
