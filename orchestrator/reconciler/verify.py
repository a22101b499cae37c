"""Verb 6: what the cache shows becomes the outcome of each applied action.

Input: the workloads that changed, and the time. Output: the verifications that ended. Side effects: one transaction
for all of them. Nothing is polled: a change of the target, the end of its stabilization, or the deadline makes a
verification due.
"""

import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models.functions import Now
from opentelemetry.trace import Span

from orchestrator import metrics
from orchestrator.actions import HANDLERS
from orchestrator.k8s.revision import progress_deadline
from orchestrator.k8s.rollout import Complete, Failed, Progressing
from orchestrator.k8s.types import WorkloadKey, WorkloadObject
from orchestrator.models import Action, ActionState, VerificationStatus, transition_store, transitions
from orchestrator.reconciler.calls import Confirmation
from orchestrator.reconciler.clock import Clock
from orchestrator.verification.judge import Expected, judge
from signals.lib import tracing
from signals.lib.redaction import error_text
from signals.proposals import changes_template
from signals.reasons import Reason
from signals.types import ActionType, Kind

log = logging.getLogger(__name__)

READ_AGAIN = 5.0  # seconds after which an API server that gave no answer is called again
OVERDUE = 10.0  # seconds after its deadline at which a verification ends that this process cannot carry out
BEGIN_AGAIN = 10.0  # seconds after which this process begins anew with a verification that met an error
NOTHING_EXPECTED = Expected(uid="", generation=0, action="", replicas=None, baseline=0)


@dataclass(slots=True, eq=False)
class Watched:
    """One verification under way. Times are monotonic seconds. `confirming`: a live read is under way that shows
    whether it ends badly. `epoch` is the monotonic second at the beginning of 1970, by the clock of the database.
    `refused`: since when the cluster has refused the pods, with the counts at that time. `furthest` are the counts that
    show the most progress so far, and `moved_at` is when they were seen first. `timeout` is the time from the write to
    the first deadline. `span` is ended with the verification; a span that does not end is not exported."""

    action: Action
    expected: Expected
    stabilization: float
    deadline: float
    timeout: float
    epoch: float
    moved_at: float
    span: Span
    complete_since: float | None = None
    refused: tuple[float, tuple[int, ...]] | None = None
    confirming: bool = False
    furthest: tuple[int, ...] = ()

    @property
    def key(self) -> WorkloadKey:
        return self.action.workload.key


@dataclass(frozen=True, slots=True)
class Ended:
    """`seen` is the workload as it was observed last, None if there was none."""

    watched: Watched
    status: VerificationStatus
    reason: Reason
    message: str
    seen: WorkloadObject | None

    def __str__(self) -> str:
        return f"action {self.watched.action.pk}"


class Verifications:
    """All applied actions of one cluster that have not ended. Several reconcilers may watch the same action: one of
    them records the outcome."""

    def __init__(self, cluster_name: str, clock: Clock) -> None:
        self._cluster_name, self._clock = cluster_name, clock
        self._watched: dict[UUID, Watched] = {}
        self._by_key: dict[WorkloadKey, UUID] = {}
        self._alarms: list[tuple[float, UUID]] = []
        self._due: set[UUID] = set()  # to be examined
        self._failing: dict[UUID, float] = {}  # those that cannot be processed, and when each is tried again
        self.ended: list[Ended] = []  # to be recorded

    def __len__(self) -> int:
        return len(self._watched) + len(self.ended)

    def load(self) -> None:
        """Begins with all of the cluster that are not watched yet: another process applied them."""
        rows = Action.of_active_months().filter(cluster=self._cluster_name, state=ActionState.VERIFYING)
        verifying, now = set(rows.values_list("pk", flat=True)), self._clock.monotonic()
        self._failing = {pk: again_at for pk, again_at in self._failing.items() if pk in verifying}
        waiting = {pk for pk, again_at in self._failing.items() if now < again_at}
        ending = {one.watched.action.pk for one in self.ended}
        if unknown := verifying - self._watched.keys() - ending - waiting:
            rows = rows.filter(pk__in=unknown).select_related("workload", "verification")
            for action in rows.annotate(read_at=Now()):
                self._watch(action, action.read_at)

    def watch(self, action: Action) -> None:
        """Begins with an action that was just applied."""
        self._watch(action, action.updated_at)

    def due(self, changed: Iterable[WorkloadKey]) -> Iterator[Watched]:
        """Those whose target changed, whose stabilization is over, or whose time is up. A changed key without a name
        is a namespace that was listed ("*": all of them). After an error, the next pass goes on with the others."""
        for key in changed:
            if key.name:
                self._due.update(pk for pk in [self._by_key.get(key)] if pk is not None)
            else:
                self._due.update(pk for pk, one in self._watched.items() if key.namespace in ("*", one.key.namespace))
        now = self._clock.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            self._due.add(heapq.heappop(self._alarms)[1])
        while self._due:
            if watched := self._watched.get(self._due.pop()):
                yield watched

    def next_alarm(self) -> float:
        """Seconds until `due` has something without a change; infinite if nothing is watched."""
        return self._alarms[0][0] - self._clock.monotonic() if self._alarms else float("inf")

    def examine(self, watched: Watched, seen: WorkloadObject | None, *, known: bool = True) -> bool:
        """Judges it by `seen`, the object of the cache. A success ends the verification. True: it seems to have
        failed or timed out, and the cache may be stale, so that a live read has to confirm it. `known=False`: the
        namespace has not synced, so that the cache says nothing about it, and only the time counts."""
        try:
            return self._examine(watched, seen, known=known)
        except Exception as error:  # noqa: BLE001 - it costs this verification only
            self._put_off(watched, error)
            return False

    def _examine(self, watched: Watched, seen: WorkloadObject | None, *, known: bool) -> bool:
        now = self._clock.monotonic()
        match judge(seen, watched.expected) if known else Progressing(""):
            case Complete(message):
                if watched.complete_since is None:
                    watched.complete_since = now
                    self._wake_at(now + watched.stabilization, watched)
                if now >= watched.complete_since + watched.stabilization:
                    self._end(watched, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, message, seen)
                return False
            case Failed():
                doubtful = True
            case Progressing() as progress:
                watched.complete_since = None
                doubtful = self._is_over(watched, seen) or self._is_hopeless(watched, progress, seen)
        confirming, watched.confirming = watched.confirming, watched.confirming or doubtful
        return doubtful and not confirming

    def confirm(self, confirmation: Confirmation) -> None:
        """Takes the live read of a doubtful verification. Without an answer of the API server, the verification can
        only time out."""
        watched = self._watched.get(confirmation.action_id)
        if watched is None:
            return
        watched.confirming = False
        try:
            self._take_answer(watched, confirmation)
        except Exception as error:  # noqa: BLE001 - it costs this verification only
            self._put_off(watched, error)

    def _take_answer(self, watched: Watched, confirmation: Confirmation) -> None:
        match confirmation.result:
            case Exception() as error if not self._is_over(watched, None):
                log.info("the API server did not confirm how action %s ended: %s", watched.action.pk, error)
                self._wake_at(self._clock.monotonic() + READ_AGAIN, watched)
            case Exception() as error:
                message = f"The deadline has passed, and {watched.key.kind} {watched.key.place} cannot be read: {error}"
                self._end(watched, VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT, message, None)
            case seen:
                self._conclude(watched, seen, confirmation.pods)

    def _conclude(self, watched: Watched, seen: WorkloadObject | None, pods: str) -> None:
        match judge(seen, watched.expected):
            case Complete(message):
                self._end(watched, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, message, seen)
            case Failed(reason, message):
                self._end(watched, VerificationStatus.FAILED, reason, _with(message, pods), seen)
            case Progressing(message) as progress if self._is_hopeless(watched, progress, seen):
                self._end(watched, VerificationStatus.FAILED, Reason.REPLICA_FAILURE, _with(message, pods), seen)
            case Progressing(message) if self._is_over(watched, seen):
                message = _with(message, pods)
                self._end(watched, VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT, message, seen)
            case Progressing():  # the cache was stale
                self._wake_at(self._clock.monotonic() + READ_AGAIN, watched)

    def _is_hopeless(self, watched: Watched, progress: Progressing, seen: WorkloadObject | None) -> bool:
        """Whether the cluster has refused the pods for so long that waiting does not help. Every change of the counts
        begins anew: the rollout itself may make room."""
        if progress.patience is None or seen is None:
            watched.refused = None
            return False
        now, counts = self._clock.monotonic(), (seen.status_replicas, seen.updated_replicas, seen.available_replicas)
        if watched.refused is None or watched.refused[1] != counts:
            watched.refused = (now, counts)
            self._wake_at(now + progress.patience, watched)
        return now >= watched.refused[0] + progress.patience

    def _is_over(self, watched: Watched, seen: WorkloadObject | None) -> bool:
        """Whether the deadline has passed. A rollout that makes progress has one of its own, counted from its last
        progress: not its length ends it. Of a Deployment, its controller says how long that is, and of other kinds the
        timeout of the verification. A pod that crashes and becomes ready again is progress to the controller, and none
        here: such a rollout would never end."""
        now = self._clock.monotonic()
        if seen is not None and (counts := _progress(seen, watched.expected)) > watched.furthest:
            watched.furthest, watched.moved_at = counts, now
        if now < watched.deadline:
            return False
        watched.deadline = max(watched.deadline, _own_deadline(watched, seen))
        if now < watched.deadline:
            self._wake_at(watched.deadline, watched)
            return False
        return True

    def _end(
        self, watched: Watched, status: VerificationStatus, reason: Reason, message: str, seen: WorkloadObject | None
    ) -> None:
        self.ended.append(Ended(watched, status, reason, message, seen))
        self._forget(watched)

    def _forget(self, watched: Watched) -> None:
        del self._watched[watched.action.pk]
        if self._by_key.get(watched.key) == watched.action.pk:
            del self._by_key[watched.key]

    def log_failure(self, ended: Ended, error: Exception) -> None:
        """The outcome could not be recorded. `load` begins with it again, later."""
        self._log_failure(ended.watched.action, error)
        ended.watched.span.end()

    def _watch(self, action: Action, read_at: datetime) -> None:
        """`read_at`: now, by the clock of the database."""
        if action.pk not in self._watched:
            try:
                self._begin(action, read_at)
            except Exception as error:  # noqa: BLE001 - it costs this verification only
                self._reject(action, (action.deadline_at - read_at).total_seconds(), error)

    def _begin(self, action: Action, read_at: datetime) -> None:
        verification, type_ = action.verification, ActionType(action.type)
        replicas = HANDLERS[type_].expected_replicas(action.change or {})
        expected = Expected(
            uid=action.planned_uid,
            generation=verification.generation,
            action=str(action.pk),
            replicas=replicas,
            baseline=verification.baseline.get("replicas", 0),
            fields=frozenset(verification.baseline.get("fields", ())),
            paused=verification.baseline.get("paused", False),
            conditions=frozenset(map(tuple, verification.baseline.get("conditions", ()))),
            needs_pods=replicas is None and changes_template(type_, action.params),
            kind=action.workload.key.kind,
        )
        now = self._clock.monotonic()
        span = tracing.start_span("verify", action.traceparent, signal=action.signal_id, action=action.pk)
        left = max(0.0, (action.deadline_at - read_at).total_seconds())
        epoch = now - read_at.timestamp()
        timeout = left if action.applied_at is None else (action.deadline_at - action.applied_at).total_seconds()
        watched = Watched(action, expected, verification.stabilization_seconds, now + left, timeout, epoch, now, span)
        self._watched[action.pk] = watched
        # One that another process has just ended may come late: the younger of the two is under way.
        self._by_key[watched.key] = max(action.pk, self._by_key.get(watched.key, action.pk))
        self._wake_at(watched.deadline, watched)
        self._wake_at(now, watched)  # it may be complete already

    def _reject(self, action: Action, left: float, error: Exception) -> None:
        """The row cannot be read. It may be of a newer version of SmartOps, whose processes verify it until its
        deadline; after that it ends here. `left`: seconds until its deadline."""
        self._log_failure(action, error)
        if left < -OVERDUE:
            span = tracing.start_span("verify", action.traceparent, signal=action.signal_id, action=action.pk)
            watched = Watched(action, NOTHING_EXPECTED, 0.0, 0.0, 0.0, 0.0, 0.0, span)
            self.ended.append(_failed(watched, error))

    def _put_off(self, watched: Watched, error: Exception) -> None:
        """The object or the answer cannot be judged. Nothing else might wake this verification again."""
        self._log_failure(watched.action, error)
        if self._clock.monotonic() < watched.deadline + OVERDUE:
            self._wake_at(self._clock.monotonic() + READ_AGAIN, watched)
        else:
            self._forget(watched)
            self.ended.append(_failed(watched, error))

    def _log_failure(self, action: Action, error: Exception) -> None:
        """Once for each action."""
        if action.pk not in self._failing:
            metrics.FAILED_STEPS.inc()
            log.error("action %s cannot be verified; it ends at its deadline", action.pk, exc_info=error)
        self._failing[action.pk] = self._clock.monotonic() + BEGIN_AGAIN

    def _wake_at(self, moment: float, watched: Watched) -> None:
        heapq.heappush(self._alarms, (moment, watched.action.pk))


def _own_deadline(watched: Watched, seen: WorkloadObject | None) -> float:
    """Of the rollout itself, in monotonic seconds; 0 if it has none."""
    if seen is not None and seen.kind is not Kind.DEPLOYMENT:
        return watched.moved_at + watched.timeout
    own = None if seen is None else progress_deadline(seen)
    if seen is None or own is None:
        return 0.0
    controllers = min(watched.epoch + own.timestamp(), watched.moved_at + seen.progress_deadline)
    return controllers + transitions.DEADLINE_MARGIN


def _progress(seen: WorkloadObject, expected: Expected) -> tuple[int, ...]:
    """More is further. Empty before the controller has observed the change: the counts are of the rollout before."""
    if seen.observed_generation < expected.generation:
        return ()
    surplus = seen.status_replicas - seen.updated_replicas
    return (seen.observed_generation, seen.updated_replicas, -surplus, seen.ready_replicas, seen.available_replicas)


def _with(message: str, pods: str) -> str:
    return f"{message.removesuffix('.')}. {pods}" if pods else message


def record(ended: Sequence[Ended], actor: str) -> list[Ended]:
    """Stores the outcomes, and returns those that no other process had recorded before."""
    moves = [
        transitions.verified(one.watched.action, one.status, one.reason, one.message, one.seen, actor) for one in ended
    ]
    stored = {one.action.pk for one in transition_store.store(moves)}
    return [one for one in ended if one.watched.action.pk in stored]


def count(ended: Ended) -> None:
    """The duration of a verification that was recorded; its span ends."""
    action, span = ended.watched.action, ended.watched.span
    with tracing.within(span):
        assert action.finished_at is not None
        assert action.applied_at is not None
        took = (action.finished_at - action.applied_at).total_seconds()
        metrics.VERIFICATION_DURATION.labels(ended.status.lower()).observe(took, tracing.exemplar())
    span.end()


def _failed(watched: Watched, error: Exception) -> Ended:
    message = f"The verification could not be carried out: {error_text(error)}"
    return Ended(watched, VerificationStatus.TIMED_OUT, Reason.PROCESSING_ERROR, message, None)
