"""Verb 3: due actions are claimed for one attempt, each by one process.

Input: pending actions that are due. Output: their claims, for a read of their targets. Side effects: one transaction.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from opentelemetry.trace import Span

from guardrails.types import Limits
from orchestrator import metrics
from orchestrator.k8s.errors import ClusterError
from orchestrator.k8s.sync import NO_DELAYS, Delays
from orchestrator.models import Action, ActionState, transition_store, transitions
from orchestrator.models.transition_store import Transition
from orchestrator.reconciler.batch import store_together
from orchestrator.reconciler.retry import Fail, NextMove, Retry, Review, exhausted
from signals.lib import tracing
from signals.lib.availability import is_repeatable
from signals.lib.redaction import error_text
from signals.reasons import Reason
from signals.types import Origin

log = logging.getLogger(__name__)

MAX_CLAIMS = 50  # no backoff comes to as many: an action that was claimed more often crashes its processes
CLAIM_AGAIN = timedelta(seconds=30)  # until an action is due again that could not be claimed


@dataclass(slots=True, eq=False)
class Claim:
    """From the claim to the recorded outcome, or to the end of the lease. `limits` are those under which the plan was
    made. `ambiguous`: an attempt of the action may have been applied; the next transition stores it. `writes` counts
    the requests of this claim. `unanswered` is the error of its last write, if that may have been applied.
    `last_message` is that of the attempt before."""

    action: Action
    span: Span
    ambiguous: bool
    limits: Limits | None = None
    writes: int = 0
    unanswered: ClusterError | None = None
    last_message: str = ""

    def __str__(self) -> str:
        return f"action {self.action.pk}"

    @classmethod
    def of(cls, action: Action, limits: Limits | None = None, last_message: str = "") -> "Claim":
        span = tracing.start_span("execute", action.traceparent, signal=action.signal_id, action=action.pk)
        return cls(action, span, action.ambiguous, limits, last_message=last_message)

    def follow(self, move: NextMove, actor: str) -> Transition:
        """The transition that a failed call leads to."""
        match move:
            case Retry(reason, message, delay):
                metrics.RETRIES.labels(type=self.action.type.lower(), reason=reason).inc()
                return transitions.put_back(self.action, reason, message, delay, actor, ambiguous=self.ambiguous)
            case Fail(reason, message):
                return transitions.fail(self.action, reason, message, actor)
            case Review(message):
                return transitions.require_review(self.action, message, actor)


def claim_due(cluster: str, limit: int, actor: str, delays: Delays = NO_DELAYS, *, direct: bool = False) -> list[Claim]:
    """Claims as many actions as are due. `delays` are those of the cache. `direct`: only direct actions."""
    is_due = Action.is_past("not_before", delays)
    due = Action.of_active_months().filter(is_due, cluster=cluster, state=ActionState.PENDING)
    if direct:
        due = due.filter(origin=Origin.DIRECT)
    messages = dict[UUID, str]()

    def claim(row: Action) -> Transition:
        messages[row.pk] = row.message
        return transitions.claim(row, actor)

    claimed = claim_free(due.order_by("not_before"), limit, claim, "not_before")
    return [Claim.of(one.action, last_message=messages[one.action.pk]) for one in claimed]


def give_up(claims: Sequence[Claim], actor: str) -> list[Transition]:
    """Ends actions that no process has brought to an end: the processes that claimed them have probably crashed."""
    message = "no process that claimed the action recorded an outcome"
    moves = [exhausted(message, one.action.attempts, one.ambiguous) for one in claims]
    return transition_store.store([one.follow(move, actor) for one, move in zip(claims, moves, strict=True)])


def record_claim_failure(claim: Claim, error: Exception, actor: str) -> None:
    """Stores the error of an action that cannot be processed. If its change may have been applied, a person has to
    review it."""
    metrics.FAILED_STEPS.inc()
    log.error("action %s could not be executed", claim.action.pk, exc_info=error)
    action = Action.objects.select_related("workload").get(pk=claim.action.pk)
    if action.state != ActionState.APPLYING or action.epoch != claim.action.epoch:
        return
    message = error_text(error)
    if claim.ambiguous or action.planned_resource_version:  # the error may have come after the write
        transition_store.store([transitions.require_review(action, message, actor)])
    else:
        transition_store.store([transitions.fail(action, Reason.PROCESSING_ERROR, message, actor)])


def claim_free(
    due: QuerySet[Action], limit: int, claim: Callable[[Action], Transition], moment: str
) -> list[Transition]:
    """Claims as many of these actions as no other session has locked: several reconcilers share the work. An action
    that cannot be claimed is due again after CLAIM_AGAIN, by its column `moment`; the others are claimed."""

    def claim_all(pks: Collection[UUID]) -> Sequence[Transition]:
        return _claim(due.filter(pk__in=pks), limit, claim)

    def put_off(pk: UUID, error: Exception) -> None:
        metrics.FAILED_STEPS.inc()
        log.error("action %s could not be claimed; it is tried again in %s", pk, CLAIM_AGAIN, exc_info=error)
        due.filter(pk=pk).update(**{moment: Now() + CLAIM_AGAIN})

    try:
        return _claim(due, limit, claim)
    except Exception as error:
        if is_repeatable(error):
            raise
    claimed = list[Transition]()
    store_together(list(due.values_list("pk", flat=True)[:limit]), claim_all, put_off, then=claimed.append)
    return claimed


def _claim(due: QuerySet[Action], limit: int, claim: Callable[[Action], Transition]) -> list[Transition]:
    rows = due.select_related("workload").prefetch_related("signal")
    with transaction.atomic():
        free = rows.select_for_update(skip_locked=True, of=("self",))[:limit]
        return transition_store.store([claim(row) for row in free])
