"""How much waits, for how long, and whether the loop turns. Levels, read from the tables every ten seconds.

Only a reconciler has them: in any other process they would stand at 0. All reconcilers of a cluster tell the same:
take the maximum, not the sum.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Count, Min, Q
from django.db.models.functions import Now
from prometheus_client import Gauge

from guardrails.models import Freeze
from orchestrator.models import ACTIVE, Action
from orchestrator.models import ActionState as S
from signals.models import Signal, SignalState

QUEUE_DEPTH = Gauge("orchestrator_closed_loop_queue_depth", "Signals that wait for a decision, deferred ones included.")
QUEUE_DEFERRED = Gauge(
    "orchestrator_closed_loop_queue_deferred", "Signals that wait for what held them back to pass.", ["reason"]
)
OLDEST_DUE = Gauge(
    "smartops_orchestrator_oldest_due_seconds", "How long the one that waits longest has been due; 0: none.", ["kind"]
)
ACTIONS = Gauge("smartops_orchestrator_actions", "Actions that have not ended.", ["state"])
FREEZES = Gauge("smartops_orchestrator_freezes", "Freezes in force.")
LAST_PASS = Gauge(
    "smartops_orchestrator_last_pass_timestamp_seconds", "When the loop last ended a round, which takes the database."
)

# Of the rows that are due, how long the oldest of them has been; NULL where none is.
_AGE = Now() - Min("not_before", filter=Q(not_before__lte=Now()))


def measure(cluster: str) -> None:
    """Three statements, each on an index of what has not ended."""
    _measure_signals(cluster)
    _measure_actions(cluster)
    FREEZES.set(Freeze.objects.filter(Q(until=None) | Q(until__gt=Now()), cluster__in=("", cluster)).count())


def _measure_signals(cluster: str) -> None:
    waiting = Signal.objects.filter(cluster=cluster, state=SignalState.PENDING).values("reason")
    rows = list(waiting.annotate(all=Count("pk"), deferred=Count("pk", filter=Q(not_before__gt=Now())), age=_AGE))
    QUEUE_DEPTH.set(sum(row["all"] for row in rows))
    OLDEST_DUE.labels("signal").set(_longest(row["age"] for row in rows))
    QUEUE_DEFERRED.clear()  # a scrape just now misses them; a reason that is gone must not stay
    for row in rows:
        if row["deferred"]:
            QUEUE_DEFERRED.labels(row["reason"]).set(row["deferred"])


def _measure_actions(cluster: str) -> None:
    active = Action.objects.filter(cluster=cluster, state__in=ACTIVE).values("state")
    found = {row["state"]: row for row in active.annotate(count=Count("pk"), age=_AGE)}
    for state in ACTIVE:
        ACTIONS.labels(state).set(found[state]["count"] if state in found else 0)
    OLDEST_DUE.labels("action").set(_longest([found[S.PENDING]["age"]] if S.PENDING in found else ()))


def _longest(ages: Iterable[timedelta | None]) -> float:
    return max((age.total_seconds() for age in ages if age is not None), default=0.0)
