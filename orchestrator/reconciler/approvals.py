"""Actions that wait for an approval: their plans are compared with their targets, and shown again if they have changed.

Input: the waiting actions, and the observed state of their targets. Side effects: one transaction for the batch. What
was approved is compared once more before its write (plan.py).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction

from guardrails.types import Allow, Ask, Defer, Deny, Ignore, Observe
from orchestrator import metrics
from orchestrator.decide.approval import digest_of_shown, plan_columns, rule_of, shown
from orchestrator.decide.decision import Decided, Question, decide, store_records
from orchestrator.decide.follow import ask, observe_only
from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.target import ObserveTarget, TargetState
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, ActionState, Workload, transition_store, transitions
from orchestrator.reconciler.calls import Rehearsal
from signals.lib.redaction import error_text
from signals.models import Signal
from signals.proposals.images import values_at
from signals.reasons import Reason

log = logging.getLogger(__name__)

BATCH = 100  # actions of one pass


def waiting(cluster: str, after: UUID | None = None) -> list[Action]:
    """The next actions after this one, in the order of their ids."""
    rows = Action.of_active_months().filter(cluster=cluster, state=ActionState.AWAITING_APPROVAL)
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.select_related("workload").order_by("pk")[:BATCH])


def ask_again(rows: Sequence[Action], observe_target: ObserveTarget, actor: str) -> list[Action]:
    """Shows those plans again that differ from what was shown. Returns their actions."""
    states = {row.pk: observe_target(row.workload.target) for row in rows}
    known = [row for row in rows if states[row.pk].seen and states[row.pk].managed and not states[row.pk].unreadable]
    changed = [row.pk for row in _changed(known, states)]
    if not changed:
        return []
    with transaction.atomic():
        free = Workload.lock_free(row.workload.target for row in known if row.pk in changed)
        # Persons may have decided since, or another reconciler may have asked again.
        fresh = Action.objects.filter(pk__in=changed, state=ActionState.AWAITING_APPROVAL)
        current = [row for row in fresh.select_related("workload") if row.workload.target in free]
        current = _changed(current, states)
        signals = Signal.objects.in_bulk([row.signal_id for row in current if row.signal_id])
        decided = decide([_question(row, states[row.pk], free[row.workload.target], signals) for row in current])
        moves = [_transition(row, made, actor) for row, made in zip(current, decided, strict=True)]
        stored = {one.action.pk for one in transition_store.store(moves)}
        store_records(made for row, made in zip(current, decided, strict=True) if row.pk in stored)
    return [row for row in current if row.pk in stored]


def is_requested(action: Action) -> bool:
    """Whether a person waits for a dry run of what is shown."""
    rehearsal = action.rehearsal or {}
    return rehearsal.get("digest") == action.digest and not rehearsal["done"]


def log_failure(action: Action, error: Exception) -> None:
    """What is shown stays as it is."""
    metrics.FAILED_STEPS.inc()
    text = "action %s could not be compared with its target; it is compared again later and before its write"
    log.error(text, action.pk, exc_info=error)


def record(rehearsals: Sequence[Rehearsal]) -> list[Rehearsal]:
    """Stores the results of dry runs that are still about what is shown. The actions continue to wait."""
    for one in rehearsals:
        match one.result:
            case WorkloadObject() as result:
                paths = {**(one.action.before_image or {}), **(one.action.after_image or {})}
                after = dict(values_at(paths, json.loads(result.document)))
                _store(one.action, ok=True, message="The API server accepts the change.", after=after)
            case ClusterError() as error:
                _store(one.action, ok=False, message=error.message, after={})
            case error:
                raise error
    return list(rehearsals)


def record_failure(rehearsal: Rehearsal, error: Exception) -> None:
    """The dry run, or its result, met an unexpected error."""
    metrics.FAILED_STEPS.inc()
    log.error("the dry run of action %s failed", rehearsal.action.pk, exc_info=error)
    _store(rehearsal.action, ok=False, message=error_text(error), after={})


def _store(action: Action, **found: Any) -> None:
    shown_again = {"state": ActionState.AWAITING_APPROVAL, "digest": action.digest, "rehearsal": action.rehearsal}
    rehearsal = {**(action.rehearsal or {}), "done": True, **found}
    Action.objects.filter(pk=action.pk, **shown_again).update(rehearsal=rehearsal)


def _changed(rows: Sequence[Action], states: Mapping[UUID, TargetState]) -> list[Action]:
    """Those whose plan would be shown otherwise now."""
    wanted = [Wanted(row.workload.target, rule=rule_of(row.requested_by)) for row in rows]
    return [
        row
        for row, history in zip(rows, load_history(wanted), strict=True)
        if (live := states[row.pk].object) is None or _digest(row, live, history) != row.digest
    ]


def _digest(action: Action, live: WorkloadObject, history: WorkloadHistory) -> str:
    rule, version = rule_of(action.requested_by), history.rule and history.rule.version
    return digest_of_shown(shown(plan_columns(action, live), rule, version, history.limits))


def _question(action: Action, state: TargetState, workload: Workload, signals: Mapping[UUID, Signal]) -> Question:
    """The policy engine is queried before the write."""
    signal = signals.get(action.signal_id) if action.signal_id else None
    return Question.before_write(action, state, workload, signal)


def _transition(action: Action, decided: Decided, actor: str) -> transition_store.Transition:
    """A deferral does not end the wait: it may be over when the action is approved."""
    decision, live = decided.decision, decided.question.state.object
    if live is None:
        message = f"There is no {action.workload.target.with_kind}."
        return transitions.cancel(action, Reason.TARGET_NOT_FOUND, message, actor)
    match decision:
        case Deny() | Ignore():
            return transitions.cancel(action, decision.reason, decision.message, actor, decision.details)
        case Observe():
            return observe_only(action, live, decided, decision, actor)
        case Ask() | Allow() | Defer():
            why = decision if isinstance(decision, Ask) else None
            return ask(action, live, decided, why, actor)
