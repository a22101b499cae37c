"""The latest rollout of a workload's pod template: whether it is in progress, whose it is, and since when. Pure.

`rollout` judges whether the pods are as the spec wants them. Here only a rollout counts: neither a pod that failed
after the rollout was complete, nor a change of scale. The status and managedFields show it; ReplicaSets and
ControllerRevisions are not read.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from guardrails.types import RolloutFacts, RolloutState
from orchestrator.k8s.owners import SYSTEM_MANAGERS
from orchestrator.k8s.rollout import Complete, rollout
from orchestrator.k8s.types import FIELD_MANAGER, PROGRESSING, Condition, TemplateChange, Update, WorkloadObject
from signals.proposals.paths import TEMPLATE
from signals.types import Kind

COMPLETED = "NewReplicaSetAvailable"  # the reason of Progressing from the end of a rollout to the beginning of the next
CLOCK_SKEW = timedelta(seconds=10)  # between an API server and the Deployment controller
NO_AUTHORS = SYSTEM_MANAGERS - {FIELD_MANAGER}  # they change no template
CREATION = timedelta(seconds=1)  # within it, the times of an entry and of the creation may be of one request


def rollout_state(workload: WorkloadObject) -> RolloutState:
    """A rollout of the pod template. Where no controller replaces pods, there is none: a paused Deployment, and the
    update strategy OnDelete."""
    if workload.paused or workload.update is Update.ON_DELETE or isinstance(rollout(workload), Complete):
        return RolloutState.COMPLETE
    if workload.observed_generation < workload.generation:
        return RolloutState.IN_PROGRESS
    return _state_of_deployment(workload) if workload.kind is Kind.DEPLOYMENT else _state_of_set(workload)


def _state_of_deployment(deployment: WorkloadObject) -> RolloutState:
    progressing = _progressing(deployment)
    if progressing is not None and progressing.status == "False":
        return RolloutState.STUCK
    if progressing is not None and progressing.reason != COMPLETED:
        return RolloutState.IN_PROGRESS
    # Without a progress deadline there is no condition. After the end of a rollout, old pods show the next one first.
    has_old_pods = deployment.status_replicas > deployment.updated_replicas
    return RolloutState.IN_PROGRESS if has_old_pods else RolloutState.COMPLETE


def _state_of_set(workload: WorkloadObject) -> RolloutState:
    """A StatefulSet or a DaemonSet. Its controller reports no stuck rollout: one that makes no progress stays in
    progress. Without a partition, a StatefulSet shows the end by its revisions; else it has ended when every pod that
    may be replaced was replaced, and pods that are missing have another cause."""
    if workload.kind is Kind.STATEFUL_SET and not workload.partition:
        return RolloutState.COMPLETE if workload.is_current else RolloutState.IN_PROGRESS
    waits = workload.updated_replicas < min(workload.to_update, workload.status_replicas)
    return RolloutState.IN_PROGRESS if waits else RolloutState.COMPLETE


def latest_rollout(workload: WorkloadObject) -> RolloutFacts:
    """Nothing is said where a change of the template has no effect yet: of a paused Deployment, and of the update
    strategy OnDelete."""
    if workload.paused or workload.update is Update.ON_DELETE:
        return RolloutFacts()
    state, ended = rollout_state(workload), _ended(workload)
    changes = _of_template(workload.template_changes, ended if state is RolloutState.COMPLETE else None)
    others = [one for one in changes if one.manager != FIELD_MANAGER and not _is_creation(one, workload)]
    ours = [one for one in changes if one.manager == FIELD_MANAGER]
    by_others = max(reversed(others), key=lambda one: one.at, default=None)
    latest = max([*others, *ours] or changes, key=lambda one: (one.at, one.manager != FIELD_MANAGER), default=None)
    return RolloutFacts(
        state=state,
        message=rollout(workload).message,
        updated=workload.updated_replicas,
        ready=workload.ready_replicas,
        total=workload.status_replicas,
        by=latest.manager if latest else "",
        since=latest.at if latest else None,
        until=None if state is RolloutState.IN_PROGRESS else ended,
        ours=latest is not None and latest.manager == FIELD_MANAGER,
        first=latest is not None and _is_creation(latest, workload),
        changed_by=by_others.manager if by_others else "",
        changed_at=by_others.at if by_others else None,
    )


def held(workload: WorkloadObject) -> str:
    """Why a change of the pod template reaches no pod by itself; "" if it reaches some. Pausing is not among it."""
    if workload.update is Update.ON_DELETE:
        return f"its update strategy is {Update.ON_DELETE}"
    if workload.partition and not workload.to_update:
        return f"its partition {workload.partition} leaves all {workload.replicas} replicas at the old template"
    return ""


def progress_deadline(workload: WorkloadObject) -> datetime | None:
    """When the Deployment controller gives up the rollout, counted from its last progress. None if nothing shows when
    that was."""
    progressing = _progressing(workload)
    moved = None if progressing is None else _updated(progressing)
    if progressing is None or moved is None or not workload.progress_deadline:
        return None
    if rollout_state(workload) is not RolloutState.IN_PROGRESS or progressing.reason == COMPLETED:
        return None
    return moved + timedelta(seconds=workload.progress_deadline)


def _progressing(workload: WorkloadObject) -> Condition | None:
    return next((one for one in workload.conditions if one.type == PROGRESSING), None)


def _ended(workload: WorkloadObject) -> datetime | None:
    """When the condition came to say that the rollout is complete, or stuck."""
    progressing = _progressing(workload)
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


def _is_creation(change: TemplateChange, workload: WorkloadObject) -> bool:
    """Times have a resolution of a second. A template that was changed within it has a second revision, of which
    SmartOps may be the author. Of an only revision, a later time is that of other fields of the manager's entry."""
    if _has_one_revision(workload):
        return True
    if workload.created_at is None or change.at > workload.created_at + CREATION:
        return False
    has_ours = any(one.manager == FIELD_MANAGER for one in workload.template_changes)
    return workload.revision <= 1 or has_ours or any(field.startswith(TEMPLATE) for field in workload.ours)


def _has_one_revision(workload: WorkloadObject) -> bool:
    """A Deployment's controller counts when it has seen a change; of a DaemonSet, the API server counts at once."""
    is_counted = workload.kind is Kind.DAEMON_SET or workload.observed_generation >= workload.generation
    return workload.revision == 1 and is_counted
