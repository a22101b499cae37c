"""Verb 3: what the shared view shows becomes the outcome of each applied action. No polling: a change of the target,
the end of its stabilisation, or its deadline is what makes an action worth a look."""

import heapq
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from opentelemetry.trace import Span

from orchestrator import metrics
from orchestrator.k8s import errors
from orchestrator.k8s.cache import ClusterCache
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.rollout import Complete, Failed, Progressing
from orchestrator.k8s.types import Deployment, WorkloadKey
from orchestrator.models import Action, ActionState, VerificationStatus
from orchestrator.verification.judge import Expected, judge
from signals.lib import tracing
from signals.lib.statements import LostRace
from signals.reasons import Reason

ASK_AGAIN = 5.0  # seconds after which an API server that gave no answer is asked again


@dataclass(slots=True)
class Watched:
    """One verification under way. Times are monotonic seconds."""

    action: Action
    expected: Expected
    stabilization: float
    deadline: float
    span: Span  # ended by whoever records the outcome: a span that does not end is not told
    complete_since: float | None = None


class Verifications:
    """All applied actions of one cluster that have not ended. Several reconcilers may watch the same action: the
    transition is a compare-and-set, so one of them records the outcome."""

    def __init__(
        self,
        cluster_name: str,
        cluster: Cluster,
        view: ClusterCache,
        actor: str,
    ) -> None:
        self._cluster_name, self._cluster, self._view, self._actor = cluster_name, cluster, view, actor
        self._watched: dict[UUID, Watched] = {}
        self._by_key: dict[WorkloadKey, UUID] = {}
        self._alarms: list[tuple[float, UUID]] = []
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._watched)

    def load(self) -> None:
        """Begins with all of the cluster that are not watched yet: others applied them, or we could not record their
        outcome."""
        rows = Action.objects.filter(cluster=self._cluster_name, state=ActionState.VERIFYING)
        with self._lock:
            known = set(self._watched)
        unknown = set(rows.values_list("pk", flat=True)) - known
        rows = rows.filter(pk__in=unknown)  # asks nothing where there are none
        rows = rows.select_related("workload", "verification", "signal").annotate(left=F("deadline_at") - Now())
        for action in rows:
            self.watch(action, action.left)

    def watch(self, action: Action, left: timedelta) -> None:
        """Begins with one that was applied and has so much time left."""
        verification = action.verification
        expected = Expected(
            uid=action.planned_uid,
            generation=verification.generation,
            action=str(action.pk),
            replicas=_written_replicas(action),
            baseline=verification.baseline.get("replicas", 0),
            fields=frozenset(verification.baseline.get("fields", ())),
        )
        deadline = time.monotonic() + max(0.0, left.total_seconds())
        span = tracing.start_span("verify", action.traceparent, signal=action.signal_id, action=action.pk)
        watched = Watched(action, expected, verification.stabilization_seconds, deadline, span)
        with self._lock:
            self._watched.setdefault(action.pk, watched)
            # One that another process has just ended may come late: the younger of the two is under way.
            self._by_key[action.workload.key] = max(action.pk, self._by_key.get(action.workload.key, action.pk))
            heapq.heappush(self._alarms, (deadline, action.pk))
            heapq.heappush(self._alarms, (time.monotonic(), action.pk))  # it may be complete already

    def due(self, changed: Iterable[WorkloadKey]) -> list[UUID]:
        """The watched actions whose target changed, whose stabilisation is over, or whose time is up."""
        found = {pk for key in changed if (pk := self._by_key.get(key)) is not None}
        with self._lock:
            while self._alarms and self._alarms[0][0] <= time.monotonic():
                found.add(heapq.heappop(self._alarms)[1])
        return [pk for pk in found if pk in self._watched]

    def next_alarm(self) -> float:
        """Seconds until `due` has something without a change; infinite where nothing is watched."""
        return self._alarms[0][0] - time.monotonic() if self._alarms else float("inf")

    def look(self, pk: UUID) -> None:
        watched = self._watched.get(pk)
        if watched is None:
            return
        with tracing.within(watched.span, signal=watched.action.signal_id, action=pk):
            self._look(pk, watched)

    def _look(self, pk: UUID, watched: Watched) -> None:
        now = time.monotonic()
        seen = self._view.get(watched.action.workload.key)
        match judge(seen, watched.expected):
            case Failed(_, message):
                self._settle(watched, message)
            case Complete(message):
                if watched.complete_since is None:
                    watched.complete_since = now
                    self._wake_at(now + watched.stabilization, pk)
                if now >= watched.complete_since + watched.stabilization:
                    self._conclude(watched, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, message, seen)
            case Progressing(message):
                watched.complete_since = None
                if now >= watched.deadline:
                    self._settle(watched, message)

    def _wake_at(self, moment: float, pk: UUID) -> None:
        with self._lock:
            heapq.heappush(self._alarms, (moment, pk))

    def _settle(self, watched: Watched, message: str) -> None:
        """The view says that it failed, or that its time is up. The view may lag behind, or know nothing yet: the API
        server itself has the last word, and while it gives none, nothing is concluded but that time is up."""
        try:
            seen = self._cluster.get_deployment_status(watched.action.workload.key)
        except errors.NotFound:
            seen = None
        except errors.ClusterError as error:
            if (now := time.monotonic()) < watched.deadline:
                self._wake_at(now + ASK_AGAIN, watched.action.pk)  # the view may have nothing new to tell
            else:
                message = f"{message}; the cluster could not be asked: {error.message}"
                self._conclude(watched, VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT, message, None)
            return
        match judge(seen, watched.expected):
            case Complete(complete):
                self._conclude(watched, VerificationStatus.SUCCESS, Reason.ROLLOUT_COMPLETE, complete, seen)
            case Failed(reason, failed):
                self._conclude(watched, VerificationStatus.FAILED, reason, failed, seen)
            case Progressing() if time.monotonic() >= watched.deadline:
                self._conclude(watched, VerificationStatus.TIMED_OUT, Reason.VERIFICATION_TIMED_OUT, message, seen)

    def _conclude(
        self, watched: Watched, status: VerificationStatus, reason: Reason, message: str, seen: Deployment | None
    ) -> None:
        try:
            with suppress(LostRace):  # another reconciler saw it first
                watched.action.verified(status, reason, message, seen, self._actor)
                took = (timezone.now() - watched.action.verification.started_at).total_seconds()
                metrics.VERIFICATION_DURATION.labels(status.lower()).observe(took, tracing.exemplar())
                watched.span.end()
        finally:  # where the database failed, the next sweep begins anew: nothing else might wake this one again
            with self._lock:
                self._watched.pop(watched.action.pk, None)
                if self._by_key.get(watched.action.workload.key) == watched.action.pk:
                    del self._by_key[watched.action.workload.key]


def _written_replicas(action: Action) -> int | None:
    change = action.change or {}
    if "patch" in change:
        change = change["patch"].get("spec") or {}
    replicas: int | None = change.get("replicas")
    return replicas
