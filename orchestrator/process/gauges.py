"""Gauges of the reconciler: queue depth, age of the oldest due row, active actions, freezes, time of the last pass.

`measure` reads them from the tables every ten seconds. The web process does not import this module, as its gauges would
stay at 0. All reconcilers of a cluster report the same values: aggregate with max, not with sum.
"""

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Count, Min, Q
from django.db.models.functions import Now
from prometheus_client import Gauge

from guardrails.models import Freeze
from orchestrator.models import ACTIVE, Action
from orchestrator.models import ActionState as S
from signals.models import Signal

QUEUE_DEPTH = Gauge("orchestrator_closed_loop_queue_depth", "Number of pending signals, deferred ones included.")
QUEUE_DEFERRED = Gauge(
    "orchestrator_closed_loop_queue_deferred", "Number of deferred signals, by the reason of the deferral.", ["reason"]
)
OLDEST_DUE = Gauge(
    "smartops_orchestrator_oldest_due_seconds",
    "Time since the oldest due signal or action became due; 0 if none is due.",
    ["kind"],
)
ACTIONS = Gauge("smartops_orchestrator_actions", "Number of actions that have not ended, by state.", ["state"])
FREEZES = Gauge("smartops_orchestrator_freezes", "Number of freezes in force.")
UNREADABLE = Gauge(
    "smartops_orchestrator_unreadable_namespaces",
    "Number of namespaces that this reconciler cannot read; /readyz has the causes.",
)
LAST_PASS = Gauge(
    "smartops_orchestrator_last_pass_timestamp_seconds",
    "Unix time at which the last pass of the control loop succeeded.",
)

# Age of the oldest row that is due; NULL if none is.
_AGE = Now() - Min("not_before", filter=Q(not_before__lte=Now()))


def measure(cluster: str) -> None:
    """Read all gauges of the cluster: three statements, each on a partial index of the rows that have not ended."""
    _measure_signals(cluster)
    _measure_actions(cluster)
    FREEZES.set(Freeze.in_force().filter(cluster__in=("", cluster)).count())


def _measure_signals(cluster: str) -> None:
    waiting = Signal.pending().filter(cluster=cluster).values("reason")
    rows = list(waiting.annotate(all=Count("pk"), deferred=Count("pk", filter=Q(not_before__gt=Now())), age=_AGE))
    QUEUE_DEPTH.set(sum(row["all"] for row in rows))
    OLDEST_DUE.labels("signal").set(_longest(row["age"] for row in rows))
    QUEUE_DEFERRED.clear()  # removes reasons that no signal has any more; a scrape at this moment misses the others
    for row in rows:
        if row["deferred"]:
            QUEUE_DEFERRED.labels(row["reason"]).set(row["deferred"])


def _measure_actions(cluster: str) -> None:
    active = Action.of_active_months().filter(cluster=cluster, state__in=ACTIVE).values("state")
    found = {row["state"]: row for row in active.annotate(count=Count("pk"), age=_AGE)}
    for state in ACTIVE:
        ACTIONS.labels(state).set(found[state]["count"] if state in found else 0)
    OLDEST_DUE.labels("action").set(_longest([found[S.PENDING]["age"]] if S.PENDING in found else ()))


def _longest(ages: Iterable[timedelta | None]) -> float:
    return max((age.total_seconds() for age in ages if age is not None), default=0.0)
