"""What a page knows of its age, and of the reconcilers that change what it shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings

from orchestrator.models import Heartbeat
from signals.lib.clock import database_now

STOPPED_AFTER = timedelta(seconds=15)  # without a pass: three heartbeats
FORGOTTEN_AFTER = timedelta(days=1)  # of a cluster that is not the one of this process


class Reconcilers(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    NONE = "none"  # there has never been one


@dataclass(frozen=True, slots=True)
class Stopped:
    cluster: str
    last_pass: datetime | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """`at`: when the page was made, by the clock of the database. `stopped`: the clusters that nobody reconciles."""

    at: datetime
    stopped: tuple[Stopped, ...] = ()

    @property
    def reconcilers(self) -> Reconcilers:
        if not self.stopped:
            return Reconcilers.RUNNING
        return Reconcilers.NONE if all(one.last_pass is None for one in self.stopped) else Reconcilers.STOPPED


def freshness() -> Freshness:
    """Two queries."""
    return judge(Heartbeat.objects.values_list("cluster", "passed_at"), settings.SMARTOPS_CLUSTER, database_now())


def judge(heartbeats: Iterable[tuple[str, datetime]], own: str, now: datetime) -> Freshness:
    """`own`: the cluster that must have a reconciler. Others count while their last pass is not long ago."""
    passes = dict(heartbeats)
    expected = {own} | {cluster for cluster, at in passes.items() if at > now - FORGOTTEN_AFTER}
    silent = [one for one in sorted(expected) if one not in passes or passes[one] <= now - STOPPED_AFTER]
    return Freshness(now, tuple(Stopped(cluster, passes.get(cluster)) for cluster in silent))
