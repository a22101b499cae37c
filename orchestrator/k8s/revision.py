"""The latest rollout of a Deployment's pod template: whether it is in progress, whose it is, and since when. Pure.

`rollout` judges whether the pods are as the spec wants them. Here only a rollout counts: neither a pod that failed
after the rollout was complete, nor a change of scale.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.owners import SYSTEM_MANAGERS
from orchestrator.k8s.rollout import Complete, rollout
from orchestrator.k8s.types import FIELD_MANAGER, PROGRESSING, Condition, Deployment, TemplateChange
from signals.proposals.paths import TEMPLATE

COMPLETED = "NewReplicaSetAvailable"  # the reason of Progressing from the end of a rollout to the beginning of the next
CLOCK_SKEW = timedelta(seconds=10)  # between an API server and the Deployment controller
NO_AUTHORS = SYSTEM_MANAGERS - {FIELD_MANAGER}  # they change no template
CREATION = timedelta(seconds=1)  # within it, the times of an entry and of the creation may be of one request


def rollout_state(deployment: Deployment) -> RolloutState:
    """A rollout of the pod template. A paused Deployment has none."""
    if deployment.paused or isinstance(rollout(deployment), Complete):
        return RolloutState.COMPLETE
    if deployment.observed_generation < deployment.generation:
        return RolloutState.IN_PROGRESS
    progressing = _progressing(deployment)
    if progressing is not None and progressing.status == "False":
        return RolloutState.STUCK
    if progressing is not None and progressing.reason != COMPLETED:
        return RolloutState.IN_PROGRESS
    # Without a progress deadline there is no condition. After the end of a rollout, old pods show the next one first.
    has_old_pods = deployment.status_replicas > deployment.updated_replicas
    return RolloutState.IN_PROGRESS if has_old_pods else RolloutState.COMPLETE


def latest_rollout(deployment: Deployment) -> RolloutFacts:
    """Of a paused Deployment nothing is said: a change of its template has no effect yet."""
    if deployment.paused:
        return RolloutFacts()
    state, ended = rollout_state(deployment), _ended(deployment)
    changes = _of_template(deployment.template_changes, ended if state is RolloutState.COMPLETE else None)
    others = [one for one in changes if one.manager != FIELD_MANAGER and not _is_creation(one, deployment)]
    ours = [one for one in changes if one.manager == FIELD_MANAGER]
    by_others = max(reversed(others), key=lambda one: one.at, default=None)
    latest = max([*others, *ours] or changes, key=lambda one: (one.at, one.manager != FIELD_MANAGER), default=None)
    return RolloutFacts(
        state=state,
        message=rollout(deployment).message,
        updated=deployment.updated_replicas,
        ready=deployment.ready_replicas,
        total=deployment.status_replicas,
        by=latest.manager if latest else "",
        since=latest.at if latest else None,
        until=None if state is RolloutState.IN_PROGRESS else ended,
        ours=latest is not None and latest.manager == FIELD_MANAGER,
        first=latest is not None and _is_creation(latest, deployment),
        changed_by=by_others.manager if by_others else "",
        changed_at=by_others.at if by_others else None,
    )


def progress_deadline(deployment: Deployment) -> datetime | None:
    """When the Deployment controller gives up the rollout, counted from its last progress. None if nothing shows when
    that was."""
    progressing = _progressing(deployment)
    moved = None if progressing is None else _updated(progressing)
    if progressing is None or moved is None or not deployment.progress_deadline:
        return None
    if rollout_state(deployment) is not RolloutState.IN_PROGRESS or progressing.reason == COMPLETED:
        return None
    return moved + timedelta(seconds=deployment.progress_deadline)


def _progressing(deployment: Deployment) -> Condition | None:
    return next((one for one in deployment.conditions if one.type == PROGRESSING), None)


def _ended(deployment: Deployment) -> datetime | None:
    """When the condition came to say that the rollout is complete, or stuck."""
    progressing = _progressing(deployment)
    if progressing is None or (progressing.reason != COMPLETED and progressing.status != "False"):
        return None
    return _updated(progressing)


def _updated(condition: Condition) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(condition.updated_at)
    return None


def _of_template(changes: Iterable[TemplateChange], completed: datetime | None) -> list[TemplateChange]:
    """Without those that the status disproves: where the last rollout was complete before them and none has followed,
    the manager has changed other fields of its entry, for instance an annotation or `spec.replicas`."""
    return [
        one
        for one in changes
        if one.manager not in NO_AUTHORS and (completed is None or one.at <= completed + CLOCK_SKEW)
    ]


def _is_creation(change: TemplateChange, deployment: Deployment) -> bool:
    """Times have a resolution of a second. A template that was changed within it has a second revision, of which
    SmartOps may be the author."""
    if deployment.created_at is None or change.at > deployment.created_at + CREATION:
        return False
    has_ours = any(one.manager == FIELD_MANAGER for one in deployment.template_changes)
    return deployment.revision <= 1 or has_ours or any(field.startswith(TEMPLATE) for field in deployment.ours)
