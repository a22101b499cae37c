"""The transitions of an action: one constructor for each. They are pure, and return a value that
`transition_store.store` stores."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from guardrails.types import Limits
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models.action import PENDING_FOR, Action
from orchestrator.models.evidence import Verification, VerificationStatus
from orchestrator.models.states import ActionState as S
from orchestrator.models.transition_store import Asks, Transition
from signals.proposals import PROPOSAL_TYPES
from signals.proposals.images import images, values_at
from signals.reasons import Reason
from signals.types import ActionType

REVIEW_FOR = timedelta(hours=24)
VERIFIED_AS = {
    VerificationStatus.SUCCESS: S.SUCCEEDED,
    VerificationStatus.FAILED: S.FAILED,
    VerificationStatus.TIMED_OUT: S.TIMED_OUT,
}
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
    new or pending action. `warnings`: as in Action."""
    columns = plan_columns(action, live, change, scale_increase, scale_decrease=scale_decrease, warnings=warnings)
    return Transition(
        action,
        S.APPLYING,
        actor,
        message=f"Planned against version {live.resource_version}.",
        columns={**(_next_claim(action) if action.state == S.PENDING else {}), **columns},
    )


def plan_columns(
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
    """new, applying or awaiting_approval → awaiting_approval: the plan is shown, and nothing is written. Approvals
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
    """new, applying or awaiting_approval → observed: nothing is written, and it counts as if it had been. `plan`:
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


def put_back(action: Action, reason: Reason, message: str, delay: float, actor: str, *, ambiguous: bool) -> Transition:
    """applying → pending. A write that was certainly not applied is planned anew; an ambiguous one keeps its plan, and
    the next claim reads the target first."""
    columns = {"ambiguous": ambiguous, **({} if ambiguous else NO_PLAN)}
    return Transition(action, S.PENDING, actor, reason, message, columns=columns, not_before=delay)


def cancel(
    action: Action, reason: str, message: str, actor: str, details: Mapping[str, Any] | None = None
) -> Transition:
    """pending, applying or awaiting_approval → cancelled, or needs_review by a review: the change was not applied."""
    return Transition(action, S.CANCELLED, actor, reason, message, details or {})


def fail(action: Action, reason: str, message: str, actor: str) -> Transition:
    """applying → failed: the change was not applied."""
    return Transition(action, S.FAILED, actor, reason, message)


def require_review(action: Action, message: str, actor: str) -> Transition:
    """applying → needs_review: it cannot be known whether the change was applied. The target stays occupied."""
    return Transition(
        action,
        S.NEEDS_REVIEW,
        actor,
        Reason.OUTCOME_UNKNOWN,
        message,
        columns={"ambiguous": True},
        deadline=REVIEW_FOR.total_seconds(),
    )


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
    return {"after_image": dict(values_at(paths, json.loads(written.document)))}


def _next_claim(action: Action) -> dict[str, int]:
    return {"epoch": action.epoch + 1, "attempts": action.attempts + 1}


def observed_counts(seen: WorkloadObject) -> dict[str, Any]:
    return {
        "desired_replicas": seen.replicas,
        "ready_replicas": seen.ready_replicas,
        "available_replicas": seen.available_replicas,
        "updated_replicas": seen.updated_replicas,
        "observed_generation": seen.observed_generation,
    }
